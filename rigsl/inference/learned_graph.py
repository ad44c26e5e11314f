"""What a trained model made of a dialogue's graph: edges left by CGS, relations mined by IGR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rigsl.config import MODALITIES
from rigsl.data.batches import BatchSource
from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from rigsl.files import replacing
from rigsl.model.graph import DialogueGraph, dialogue_graph
from rigsl.model.nodeformer import NodeFormerLayer
from rigsl.model.rigsl import RIGSL
from rigsl.model.sparsify import EdgeScores, EdgeValues, SparseGraph, cross_mask
from rigsl.training.evaluation import check_schema

if TYPE_CHECKING:
    from torch_geometric.data import Data

EDGE_TYPES = ("different speakers", "same speaker", "across modalities")


@dataclass(frozen=True)
class LearnedGraph:
    """One dialogue of T utterances in M modalities; node m * T + t is modality m of utterance t.

    edge_index: [2, E] predefined edges, source and target; edge_type: [E] index into EDGE_TYPES;
    gates: [E, layers] in evaluation mode, zero where CGS removed the edge; relations:
    [layers, N, N] attention of node i over nodes j, mean over the heads; either is empty where the
    model has no such part. predicted: [T] class indices.
    """

    dialogue: str
    modalities: tuple[str, ...]
    speakers: np.ndarray
    predicted: np.ndarray
    edge_index: Tensor
    edge_type: Tensor
    gates: Tensor
    relations: Tensor

    @property
    def length(self) -> int:
        """T, the number of utterances."""
        return len(self.speakers)

    def kept(self) -> Tensor:
        """Share of the edges left, by layer and type; NaN for a type without edges. [layers, 3]"""
        left = (self.gates != 0).T.double()  # [layers, E]
        shares = [left[:, self.edge_type == kind].mean(dim=1) for kind in range(len(EDGE_TYPES))]
        return torch.stack(shares, dim=1)

    def strongest(self, count: int) -> list[tuple[int, int, float]]:
        """The `count` strongest relations between different nodes, mean over layers: (from, to, weight)."""
        if not self.relations.numel():
            return []
        mean = self.relations.mean(dim=0).fill_diagonal_(0)
        values, flat = mean.flatten().topk(min(count, mean.numel()))
        nodes = mean.shape[0]
        pairs = zip(values.tolist(), flat.tolist(), strict=True)
        return [(at % nodes, at // nodes, value) for value, at in pairs if value > 0]

    def data(self) -> Data:
        """The graph for torch_geometric: edges left in any layer, their gates, and the relations."""
        from torch_geometric.data import Data

        left = (self.gates != 0).any(dim=1) if self.gates.numel() else torch.zeros(len(self.edge_type)) > 0
        modality = torch.arange(len(self.modalities)).repeat_interleave(self.length)
        return Data(
            edge_index=self.edge_index[:, left],
            edge_type=self.edge_type[left],
            edge_weight=self.gates[left],
            relations=self.relations,
            modality=modality,
            utterance=torch.arange(self.length).repeat(len(self.modalities)),
            speaker=torch.from_numpy(np.array(self.speakers)).repeat(len(self.modalities)),
            predicted=torch.from_numpy(np.array(self.predicted)),
            num_nodes=len(modality),
        )

    def save(self, path: Path) -> None:
        """Write `data` as a dictionary of tensors, atomically: ``Data.from_dict(torch.load(path))``.

        A pickled Data object needs its classes to be trusted first; tensors load weights-only as they are.
        """
        with replacing(Path(path)) as temporary:
            torch.save(self.data().to_dict(), temporary)


def learned_graph(model: RIGSL, corpus: Corpus, dialogue: str) -> LearnedGraph:
    """The graph that `model` makes of a dialogue of `corpus`, in evaluation mode.

    Raises:
        UserError: there is no such dialogue, or the model does not fit the corpus.
    """
    check_schema(model, corpus)
    if dialogue not in corpus.dialogue_ids:
        some = ", ".join(corpus.dialogue_ids[:3])
        raise UserError(
            f"--dialogue {dialogue}: {corpus.name} has no such dialogue; its names are like {some}"
        )
    index = np.array([corpus.dialogue_ids.index(dialogue)])
    batch = BatchSource(corpus, model.config.modals).batch(index)
    gates: list[SparseGraph] = []
    inputs: list[tuple[Any, ...]] = []
    with torch.no_grad(), _listening(model, gates, inputs):
        out = model.eval()(batch)
        relations = [layer.relations(*given).mean(dim=1)[0] for layer, *given in inputs]
    graph = dialogue_graph(batch, model.config)
    edge_index, edge_type, at = _edges(graph)
    values = [_flat(sparse.gates)[at] for sparse in gates]
    return LearnedGraph(
        dialogue=dialogue,
        modalities=tuple(MODALITIES[letter] for letter in model.config.modals),
        speakers=batch.speaker.numpy(),
        predicted=out.log_prob.argmax(dim=1).numpy(),
        edge_index=edge_index,
        edge_type=edge_type,
        gates=torch.stack(values, dim=1) if values else torch.zeros(len(edge_type), 0),
        relations=torch.stack(relations) if relations else torch.zeros(0),
    )


class _listening:
    """While open, every gate's result and every NodeFormer layer's input of `model` are written down."""

    def __init__(self, model: RIGSL, gates: list[SparseGraph], inputs: list[tuple[Any, ...]]) -> None:
        self.model, self.gates, self.inputs = model, gates, inputs
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        for part in self.model.modules():
            hook: Callable[..., None] | None = None
            if isinstance(part, EdgeScores):
                hook = self._gate
            elif isinstance(part, NodeFormerLayer):
                hook = self._layer
            if hook is not None:
                self._handles.append(part.register_forward_hook(hook))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _gate(self, part: nn.Module, given: tuple[Any, ...], result: SparseGraph) -> None:
        self.gates.append(result)

    def _layer(self, part: nn.Module, given: tuple[Any, ...], result: object) -> None:
        self.inputs.append((part, *given))


def _flat(values: EdgeValues) -> Tensor:
    """[1, M, T, T] and [1, M, M, T] -> one vector."""
    return torch.cat([values.intra.flatten(), values.cross.flatten()])


def _edges(graph: DialogueGraph) -> tuple[Tensor, Tensor, Tensor]:
    """All predefined edges of the only dialogue: [2, E] source and target, [E] type, [E] place in `_flat`."""
    modalities, length = graph.modalities, graph.real.shape[1]
    node = torch.arange(modalities * length).reshape(modalities, length)
    shape = (modalities, length, length)
    target, source = node[:, :, None].expand(shape), node[:, None, :].expand(shape)
    kind = graph.same[0].long().expand(shape)
    across = (modalities, modalities, length)
    to, of = node[:, None, :].expand(across), node[None].expand(across)
    mask = torch.cat([graph.intra[0].expand(shape).flatten(), cross_mask(graph)[0].flatten()])
    at = torch.nonzero(mask).squeeze(1)
    sources = torch.cat([source.flatten(), of.flatten()])[at]
    targets = torch.cat([target.flatten(), to.flatten()])[at]
    kinds = torch.cat([kind.flatten(), torch.full((to.numel(),), 2)])[at]
    return torch.stack([sources, targets]), kinds, at
