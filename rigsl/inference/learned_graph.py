"""The graph that a trained model finds in a dialogue: edges kept by CGS, relations mined by IGR."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rigsl.data.batches import BatchSource
from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from rigsl.files import write_tensors
from rigsl.modalities import modality_names
from rigsl.model.graph import dialogue_graph
from rigsl.model.nodeformer import NodeFormerLayer
from rigsl.model.rigsl import RIGSL
from rigsl.model.sparsify import EdgeScores, SparseGraph
from rigsl.training.evaluation import check_schema

if TYPE_CHECKING:
    from torch_geometric.data import Data

EDGE_TYPES = ("different speakers", "same speaker", "across modalities")


@dataclass(frozen=True)
class LearnedGraph:
    """One dialogue of T utterances in M modalities; node m * T + t is modality m of utterance t.

    edge_index: [2, E] predefined edges, source and target; edge_type: [E] index into EDGE_TYPES; gates:
    [E, layers] in evaluation mode, zero where CGS removes the edge; relations: [layers, N, N] attention of
    node i to nodes j, mean over the heads; gates or relations are empty if the model has no such part;
    predicted: [T] class indices.
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
        """Share of the edges that are kept, by layer and type; NaN for a type without edges. [layers, 3]"""
        kept = (self.gates != 0).T.double()  # [layers, E]
        shares = [kept[:, self.edge_type == kind].mean(dim=1) for kind in range(len(EDGE_TYPES))]
        return torch.stack(shares, dim=1)

    def strongest(self, count: int) -> list[tuple[int, int, float]]:
        """The `count` strongest relations between different nodes: (source, target, mean over layers)."""
        if not self.relations.numel():
            return []
        mean = self.relations.mean(dim=0).fill_diagonal_(0)
        values, flat = mean.flatten().topk(min(count, mean.numel()))
        nodes = mean.shape[0]
        pairs = zip(values.tolist(), flat.tolist(), strict=True)
        return [(index % nodes, index // nodes, value) for value, index in pairs if value > 0]

    def data(self) -> Data:
        """The graph for torch_geometric: the edges that any layer keeps, their gates, and the relations."""
        from torch_geometric.data import Data

        kept = (self.gates != 0).any(dim=1) if self.gates.numel() else torch.zeros(len(self.edge_type)) > 0
        modality = torch.arange(len(self.modalities)).repeat_interleave(self.length)
        return Data(
            edge_index=self.edge_index[:, kept],
            edge_type=self.edge_type[kept],
            edge_weight=self.gates[kept],
            relations=self.relations,
            modality=modality,
            utterance=torch.arange(self.length).repeat(len(self.modalities)),
            speaker=torch.from_numpy(np.array(self.speakers)).repeat(len(self.modalities)),
            predicted=torch.from_numpy(np.array(self.predicted)),
            num_nodes=len(modality),
        )

    def save(self, path: Path) -> None:
        """Write `data` as a dictionary of tensors, atomically: ``Data.from_dict(torch.load(path))``.

        Tensors load with ``weights_only``; a pickled Data object would need its classes to be allowed first.
        """
        write_tensors(Path(path), self.data().to_dict())


def learned_graph(model: RIGSL, corpus: Corpus, dialogue: str) -> LearnedGraph:
    """The graph that `model` finds in a dialogue of `corpus`, in evaluation mode.

    Raises:
        UserError: there is no such dialogue, or the model does not fit the corpus.
    """
    check_schema(model, corpus)
    if dialogue not in corpus.dialogue_ids:
        examples = ", ".join(corpus.dialogue_ids[:3])
        raise UserError(
            f"--dialogue {dialogue}: {corpus.name} has no such dialogue; choose one like {examples}"
        )
    index = np.array([corpus.dialogue_ids.index(dialogue)])
    batch = BatchSource(corpus, model.config.modals).batch(index)
    sparse_graphs: list[SparseGraph] = []
    layer_inputs: list[tuple[Any, ...]] = []
    with torch.no_grad(), _recording(model, sparse_graphs, layer_inputs):
        out = model.eval()(batch)
        relations = [layer.relations(*inputs).mean(dim=1)[0] for layer, *inputs in layer_inputs]
    graph = dialogue_graph(batch, model.config)
    source, target, edge_type = graph.listed()
    values = [graph.listed_values(sparse.gates) for sparse in sparse_graphs]
    return LearnedGraph(
        dialogue=dialogue,
        modalities=tuple(modality_names(model.config.modalities)),
        speakers=batch.speaker.numpy(),
        predicted=out.log_prob.argmax(dim=1).numpy(),
        edge_index=torch.stack([source, target]),
        edge_type=edge_type,
        gates=torch.stack(values, dim=1) if values else torch.zeros(len(edge_type), 0),
        relations=torch.stack(relations) if relations else torch.zeros(0),
    )


@contextmanager
def _recording(
    model: RIGSL, sparse_graphs: list[SparseGraph], layer_inputs: list[tuple[Any, ...]]
) -> Iterator[None]:
    """Inside the block, append the result of every gate, and every NodeFormer layer with its inputs."""

    def gate_hook(gate: nn.Module, inputs: tuple[Any, ...], result: SparseGraph) -> None:
        sparse_graphs.append(result)

    def layer_hook(layer: nn.Module, inputs: tuple[Any, ...], result: object) -> None:
        layer_inputs.append((layer, *inputs))

    handles = []
    for module in model.modules():
        if isinstance(module, EdgeScores):
            handles.append(module.register_forward_hook(gate_hook))
        elif isinstance(module, NodeFormerLayer):
            handles.append(module.register_forward_hook(layer_hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
