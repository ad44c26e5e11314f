"""A layer of message passing over gated edges, and a stack of such layers (docs/model.md, section 3)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.model.backbones.base import Backbone, BackboneOutput
from rigsl.model.dropout import dropout as dropped
from rigsl.model.edges import DialogueGraph
from rigsl.model.fusion import GatedFusion
from rigsl.model.linear import Linear, linear
from rigsl.model.precision import full_precision
from rigsl.model.sparsify import SparseGraph, make_gate


class CGSLayer(nn.Module):
    """out_i = sum over edges j -> i of value_ji x'_j with x' = Lin(x); a subclass defines the value.

    `pair`, if a subclass has it, is a linear map of [x'_i ; x'_j] (target first) to one number per edge; like
    the logits of the gate it is computed as two scores per node and a broadcast sum.

    Shapes: [M * U, d] -> [M * U, d]
    """

    pair: Linear | None
    #: Whether the official code builds the gates of this layer with default values and never tells them that
    #: they are training (docs/model.md, section 6, row 2); `official_quirks` restores that.
    official_gate_is_fixed: ClassVar[bool] = False

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        d = config.hidden_dim
        self.lin = Linear(d, d, bias=False)
        nn.init.xavier_uniform_(self.lin.weight)
        self.edge_gate = make_gate(config, fixed=config.official_quirks and self.official_gate_is_fixed)
        self.pair = None

    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> BackboneOutput:
        x = self.lin(x)
        weight, bias = self._score_weights()
        sums = graph.sums(full_precision(linear(x, weight, bias)))  # [1, E], or [2, E] with a pair
        logits, *pair = sums.unbind()
        sparse: SparseGraph = self.edge_gate(logits, graph)
        out = graph.propagate(x, self.values(sparse, pair, graph))
        return BackboneOutput(out, sparse.penalty, sparse.kept)

    def _score_weights(self) -> tuple[Tensor, Tensor]:
        """All scores of a node as one linear map: [6, d] for the gate, then [2, d] for the pair."""
        weight, bias = self.edge_gate.weights()
        if self.pair is None:
            return weight, bias
        ends = self.pair.weight.view(2, -1)  # [2, d]: as target, as source
        zero = bias.new_zeros(1)
        pair_bias = zero if self.pair.bias is None else self.pair.bias
        return torch.cat([weight, ends]), torch.cat([bias, pair_bias, zero])

    @abstractmethod
    def values(self, sparse: SparseGraph, pair: Sequence[Tensor], graph: DialogueGraph) -> Tensor:
        """The value of every edge, zero where there is none. [E]

        Args:
            pair: the number of every edge [E], if the layer has a `pair`.
        """


def run_layers(
    layers: Iterable[nn.Module],
    x: Tensor,
    batch: Batch,
    graph: DialogueGraph,
    *,
    dropout: float,
    residual: bool,
) -> tuple[Tensor, list[BackboneOutput]]:
    """Layer after layer, with dropout before each; `residual` adds a layer's input before the dropout."""
    steps = []
    for layer in layers:
        step: BackboneOutput = layer(dropped(x, dropout, layer.training), batch, graph)
        x = x + step.features if residual else step.features
        steps.append(step)
    return x, steps


class CGSStack(Backbone):
    """`num_L` layers of one kind, whose penalties are summed. Shapes: [M * U, d] -> [M * U, d]"""

    layer: type[CGSLayer]
    fusion = GatedFusion

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.layers = nn.ModuleList(self.layer(config) for _ in range(config.num_L))
        self.dropout, self.residual = config.denoise_dropout, config.use_residue_denoise

    @staticmethod
    def width(config: RIGSLConfig) -> int:
        return config.hidden_dim

    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> BackboneOutput:
        x, steps = run_layers(self.layers, x, batch, graph, dropout=self.dropout, residual=self.residual)
        penalty = torch.stack([step.penalty for step in steps]).sum()
        return BackboneOutput(x, penalty, torch.stack([step.kept for step in steps]).mean(dim=0))
