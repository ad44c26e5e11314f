"""A layer of message passing over gated edges, and a stack of such layers (CGS, RIGSL section 3)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.model.backbones.base import Backbone, BackboneOutput
from rigsl.model.graph import DialogueGraph
from rigsl.model.linear import Linear, linear
from rigsl.model.precision import full
from rigsl.model.sparsify import EdgeValues, SparseGraph, make_gate, propagate


class CGSLayer(nn.Module):
    """out_i = sum over edges j -> i of value_ji x'_j with x' = Lin(x); a subclass says what the value is.

    `pair`, where a subclass has it, is a linear map of [x'_i ; x'_j] (target first) to one number an
    edge; like the gate's logits it is a score of either end and a broadcast sum.

    Shapes: [M * U, d] -> [M * U, d]
    """

    pair: Linear | None

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        d = config.hidden_dim
        self.lin = Linear(d, d, bias=False)
        nn.init.xavier_uniform_(self.lin.weight)
        self.edge_gate = make_gate(config)
        self.pair = None

    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> BackboneOutput:
        x = self.lin(x)
        weight, bias = self._score_weights()
        scores = batch.pad(full(linear(x, weight, bias)), graph.modalities)  # [B, M, T, 6 or 8]
        sparse: SparseGraph = self.edge_gate(self.edge_gate.logits(scores[..., :6], graph), graph)
        values = self.values(sparse, _pair_logits(scores[..., 6:]), graph)
        out = batch.unpad(propagate(batch.pad(x, graph.modalities), values))
        return BackboneOutput(out, sparse.penalty, sparse.kept)

    def _score_weights(self) -> tuple[Tensor, Tensor]:
        """All scores of a node as one linear map: [6, d] of the gate, then [2, d] of the pair."""
        weight, bias = self.edge_gate.weights()
        if self.pair is None:
            return weight, bias
        ends = torch.cat(self.pair.weight.chunk(2, dim=1))  # [2, d]: as target, as source
        own = bias.new_zeros(1) if self.pair.bias is None else self.pair.bias
        return torch.cat([weight, ends]), torch.cat([bias, own, bias.new_zeros(1)])

    @abstractmethod
    def values(self, sparse: SparseGraph, pair: EdgeValues, graph: DialogueGraph) -> EdgeValues:
        """The value of every edge, zero where there is none."""


def _pair_logits(scores: Tensor) -> EdgeValues:
    """[B, M, T, 2] (as target, as source) -> their sum for every edge; without scores, nothing."""
    if not scores.shape[-1]:
        nothing = scores.new_zeros(())
        return EdgeValues(nothing, nothing)
    target, source = scores.unbind(dim=-1)
    return EdgeValues(target[..., :, None] + source[..., None, :], target[:, :, None] + source[:, None])


def run_layers(
    layers: Iterable[nn.Module],
    x: Tensor,
    batch: Batch,
    graph: DialogueGraph,
    *,
    dropout: float,
    residual: bool,
) -> tuple[Tensor, list[BackboneOutput]]:
    """Layer after layer: dropout before each; with `residual` its undropped input is added to its output."""
    steps = []
    for layer in layers:
        step: BackboneOutput = layer(F.dropout(x, dropout, layer.training), batch, graph)
        x = x + step.features if residual else step.features
        steps.append(step)
    return x, steps


class CGSStack(Backbone):
    """`num_L` layers of one kind; their penalties add up. Shapes: [M * U, d] -> [M * U, d]"""

    layer: type[CGSLayer]

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.width = config.hidden_dim
        self.layers = nn.ModuleList(self.layer(config) for _ in range(config.num_L))
        self.dropout, self.residual = config.denoise_dropout, config.use_residue_denoise

    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> BackboneOutput:
        x, steps = run_layers(self.layers, x, batch, graph, dropout=self.dropout, residual=self.residual)
        penalty = torch.stack([step.penalty for step in steps]).sum()
        return BackboneOutput(x, penalty, torch.stack([step.kept for step in steps]).mean(dim=0))
