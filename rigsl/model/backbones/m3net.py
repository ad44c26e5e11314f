"""M3Net backbone: a hypergraph branch and a gated frequency branch (Chen et al., CVPR 2023; RIGSL's form)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.errors import UserError
from rigsl.model.backbones.base import Backbone, BackboneOutput
from rigsl.model.backbones.layers import CGSLayer, run_layers
from rigsl.model.backbones.speakers import TextSpeakers
from rigsl.model.edges import DialogueGraph
from rigsl.model.fusion import GatedFusion
from rigsl.model.linear import Linear
from rigsl.model.precision import full_precision
from rigsl.model.sparsify import SparseGraph
from rigsl.wording import counted

HYPERGRAPH_LAYERS, SLOPE = 3, 0.01
#: Sizes of the official weight tables, which are indexed by the position in the batch.
OFFICIAL_NODES, OFFICIAL_HYPEREDGES = 5200, 1000


class FrequencyLayer(CGSLayer):
    """Value of an edge: s_i s_j g_ji tanh(gate . [x'_i ; x'_j])."""

    official_gate_is_fixed = True

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__(config)
        self.pair = Linear(2 * config.hidden_dim, 1)
        nn.init.xavier_uniform_(self.pair.weight)

    def values(self, sparse: SparseGraph, pair: Sequence[Tensor], graph: DialogueGraph) -> Tensor:
        return sparse.gates * graph.ends(sparse.norm) * torch.tanh(pair[0])


class HypergraphBranch(nn.Module):
    """Three layers over the hyperedges "all utterances of a modality" and "all modalities of an utterance".

    Hyperedge value = sum of its members / sum of the members' node weights; node value = sum of the values of
    its two hyperedges / sum of the hyperedges' weights, + bias, leaky ReLU. There is one node weight for each
    modality, and one hyperedge weight for each modality and one for utterances. The official tables are
    indexed by the position in the batch, which makes a prediction depend on the other dialogues of the batch
    (docs/model.md, section 6, row 5); `official_quirks` restores them.

    Shapes: [M * U, d] -> [M * U, d]
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        self.quirks = config.official_quirks
        modalities = len(config.modalities)
        sizes = (OFFICIAL_NODES, OFFICIAL_HYPEREDGES) if self.quirks else (modalities, modalities + 1)
        self.node_weight = nn.Parameter(torch.ones(sizes[0]))
        self.hyperedge_weight = nn.Parameter(torch.ones(sizes[1]))
        self.bias = nn.ParameterList(torch.zeros(config.hidden_dim) for _ in range(HYPERGRAPH_LAYERS))

    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> Tensor:
        node, of_modality, of_utterance = self._weights(batch, graph)
        x = batch.pad(full_precision(x), graph.modalities)  # [B, M, T, d]
        # The share of a hyperedge's sum in a node's value, zero in padding. [B, M, T]
        real = graph.real[:, None] / (of_modality[:, :, None] + of_utterance[:, None])
        of_members = real / node.sum(dim=2, keepdim=True)
        of_parts = real / torch.where(graph.real, node.sum(dim=1), 1.0)[:, None]
        x = _Hypergraph.apply(x, of_members, of_parts, graph.real, *self.bias)  # type: ignore[no-untyped-call]
        return batch.unpad(x)

    def _weights(self, batch: Batch, graph: DialogueGraph) -> tuple[Tensor, Tensor, Tensor]:
        """Node weights [B, M, T], zero in padding, and weights of the hyperedges of modalities [B, M] and of
        utterances [B, T]."""
        size, longest, modalities = len(batch.lengths), batch.longest, graph.modalities
        real = graph.real[:, None, :]
        if not self.quirks:
            node = self.node_weight[None, :, None] * real
            of_modality = self.hyperedge_weight[:modalities].expand(size, -1)
            return node, of_modality, self.hyperedge_weight[modalities].expand(size, longest)
        lengths, time = graph.lengths, torch.arange(longest, device=real.device)
        modality = torch.arange(modalities, device=real.device)
        before = torch.cumsum(lengths, 0) - lengths
        first_edge = before + modalities * torch.arange(size, device=real.device)
        utterances = sum(batch.lengths)
        if modalities * utterances > OFFICIAL_NODES or utterances + modalities * size > OFFICIAL_HYPEREDGES:
            contents = f"{counted(utterances, 'utterance')} in {counted(size, 'dialogue')}"
            raise UserError(
                f"official_quirks: a batch of {contents} is larger than the official weight tables; "
                "use a smaller batch_size"
            )
        node_index = modalities * before[:, None, None] + modality[:, None] * lengths[:, None, None] + time
        utterance_edge = first_edge[:, None] + modalities + time
        node = self.node_weight[node_index.clamp_max(OFFICIAL_NODES - 1)] * real
        of_utterance = self.hyperedge_weight[utterance_edge.clamp_max(OFFICIAL_HYPEREDGES - 1)]
        return node, self.hyperedge_weight[first_edge[:, None] + modality], of_utterance


class _Hypergraph(torch.autograd.Function):
    """x_mt = leaky_relu(p_mt sum_t x_mt + q_mt sum_m x_mt + bias) in slots with an utterance, else 0; once
    for each of the biases.

    Shapes: x [B, M, T, d], p, q [B, M, T], real [B, T], biases [d] -> [B, M, T, d]
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: Tensor, q: Tensor, real: Tensor, *biases: Tensor) -> Tensor:
        real = real[:, None, :, None].to(x.dtype)
        kept = []
        for bias in biases:
            members, parts = x.sum(dim=2, keepdim=True), x.sum(dim=1, keepdim=True)
            x = torch.addcmul(bias, p[..., None], members).addcmul_(q[..., None], parts)
            x = F.leaky_relu_(x, SLOPE).mul_(real)
            kept += [members, parts, x]
        ctx.save_for_backward(p, q, real, *kept)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        p, q, real, *kept = ctx.saved_tensors
        d_p, d_q, d_biases = torch.zeros_like(p), torch.zeros_like(q), []
        for at in range(len(kept) - 3, -1, -3):
            members, parts, x = kept[at : at + 3]
            # The result has the sign of what the leaky ReLU got.
            gradient = torch.ops.aten.leaky_relu_backward(gradient * real, x, SLOPE, True)
            d_biases.append(gradient.sum(dim=(0, 1, 2)))
            d_p += (gradient * members).sum(dim=-1)
            d_q += (gradient * parts).sum(dim=-1)
            of_members = p[:, :, None] @ gradient  # [B, M, 1, d]
            gradient = of_members + (q[..., None] * gradient).sum(dim=1, keepdim=True)
        return gradient, d_p, d_q, None, *reversed(d_biases)


class M3Net(Backbone):
    """Sum of the hypergraph branch and of `num_L` frequency layers, both on fc1(x).

    By default the layers obey `denoise_dropout`, `use_residue_denoise` and the noise and temperature of the
    gate, and their penalties are summed. With `official_quirks` they do not: there is no dropout and no
    noise, the input of a layer is always added, and the penalty is that of the last layer (docs/model.md,
    section 6, row 2).

    Shapes: [M * U, d] -> [M * U, d]
    """

    fusion = GatedFusion

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        d = config.hidden_dim
        self.speakers = TextSpeakers(config, schema, d)
        self.fc1 = Linear(d, d)
        self.hypergraph = HypergraphBranch(config)
        self.layers = nn.ModuleList(FrequencyLayer(config) for _ in range(config.num_L))
        self.quirks = config.official_quirks
        self.residual = config.use_residue_denoise or self.quirks
        self.dropout = 0.0 if self.quirks else config.denoise_dropout

    @staticmethod
    def width(config: RIGSLConfig) -> int:
        return config.hidden_dim

    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> BackboneOutput:
        x = self.fc1(self.speakers(x, batch))
        out, steps = run_layers(self.layers, x, batch, graph, dropout=self.dropout, residual=self.residual)
        kept = torch.stack([step.kept for step in steps]).mean(dim=0)
        penalties = torch.stack([step.penalty for step in steps])
        penalty = penalties[-1] if self.quirks else penalties.sum()
        return BackboneOutput(self.hypergraph(x, batch, graph) + out, penalty, kept)
