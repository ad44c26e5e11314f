"""Context-aware graph sparsification (CGS): hard-concrete gates on the edges of a dialogue graph.

Source: RIGSL, section 3; hard concrete distribution: Louizos et al., ICLR 2018. Formulas: docs/model.md,
section 3.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rigsl.config import SPARSIFIERS, RIGSLConfig
from rigsl.model.graph import DialogueGraph
from rigsl.model.linear import Linear
from rigsl.model.sparsemax import sparsemax
from rigsl.registry import require_same_names

#: Upper limit of the degree normaliser; an isolated node, whose degree^-0.5 is infinite, gets this value.
MAX_NORM = 1.5
_NO_EDGE = -1e9


@dataclass(frozen=True)
class EdgeValues:
    """One value per edge j -> i. intra: [B, M, T, T] as [target i, source j]; cross: [B, M, M, T] as
    [target modality, source modality, utterance]. Pairs that are not edges hold arbitrary values."""

    intra: Tensor
    cross: Tensor


def hard_concrete(
    logit: Tensor, *, temperature: float, gamma: float, zeta: float, uniform: Tensor | None = None
) -> Tensor:
    """Gate of each edge in [0, 1]: clamp(z (zeta - gamma) + gamma).

    With noise `uniform` in (0, 1): z = sigmoid((log u - log(1 - u) + logit) / temperature), else
    z = sigmoid(logit). (Louizos et al., eqs. 10-12; the evaluation form is RIGSL's own.)
    """
    if uniform is None:
        z = torch.sigmoid(logit)
    else:
        z = torch.sigmoid((torch.log(uniform) - torch.log1p(-uniform) + logit) / temperature)
    return torch.clamp(z * (zeta - gamma) + gamma, 0.0, 1.0)


def l0_penalty(logit: Tensor, *, temperature: float, gamma: float, zeta: float) -> Tensor:
    """Probability that an edge's gate is not zero (Louizos et al., eq. 12), elementwise."""
    return torch.sigmoid(logit - temperature * math.log(-gamma / zeta))


def degree_norm(degree: Tensor) -> Tensor:
    """clamp(degree^-0.5, 0, 1.5), where the degree is the number of outgoing edges that are kept."""
    return degree.clamp_min(1e-30).rsqrt().clamp_max(MAX_NORM)


@dataclass(frozen=True)
class SparseGraph:
    """gates: zero where there is no edge; norm: [B, M, T] the degree normaliser of every node; penalty:
    scalar; kept: [3] the share of the predefined edges whose gate is not zero, by type."""

    gates: EdgeValues
    norm: Tensor
    penalty: Tensor
    kept: Tensor

    def normalised(self) -> EdgeValues:
        """s_i s_j g_ji of every edge."""
        norm = self.norm
        return EdgeValues(
            self.gates.intra * norm[..., :, None] * norm[..., None, :],
            self.gates.cross * norm[:, :, None] * norm[:, None, :],
        )


def sparse_graph(gates: EdgeValues, graph: DialogueGraph, penalty: Tensor | None = None) -> SparseGraph:
    """The graph of these gates, which are set to zero where there is no edge. The penalty is the share of
    all edges that are kept, unless one is given."""
    intra = gates.intra * graph.intra[:, None]
    cross = gates.cross * cross_mask(graph)
    kept_intra, kept_cross = intra != 0, cross != 0
    degree = kept_intra.sum(dim=2) + kept_cross.sum(dim=1)  # over targets -> [B, M, T]
    same = (kept_intra & graph.same[:, None]).sum()
    counts = torch.stack([kept_intra.sum() - same, same, kept_cross.sum()])
    if penalty is None:
        penalty = counts.sum() / graph.edges.sum().clamp_min(1)
    kept = counts / graph.by_type.clamp_min(1)
    return SparseGraph(EdgeValues(intra, cross), degree_norm(degree.to(intra.dtype)), penalty, kept)


class EdgeScores(nn.Module):
    """The logit of every edge; a subclass turns the logits into a `SparseGraph`.

    logit(j -> i) = w_type . [h_j ; h_i] + b_type with h = Transform(x') is linear in both ends, so that two
    scores per node and type and a broadcast sum are enough. Transform is folded into the score weights and
    never applied to a node. Types: 0 different speakers, 1 same speaker, 2 different modalities.

    Shapes: x' [..., d] -> scores [..., 6]; scores [B, M, T, 6] -> EdgeValues
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        d = config.hidden_dim
        self.transform = Linear(d, d)
        self.score = nn.ModuleList(Linear(2 * d, 1) for _ in range(3))

    def weights(self) -> tuple[Tensor, Tensor]:
        """Weight [6, d] and bias [6] of a node's scores: as source of each type, then as target of each type
        (which includes the type's bias)."""
        pairs = torch.cat([score.get_parameter("weight") for score in self.score])  # [3, 2 d]
        bias = torch.cat([score.get_parameter("bias") for score in self.score])
        ends = torch.cat(pairs.chunk(2, dim=1))  # [6, d]: sources, then targets
        return ends @ self.transform.weight, ends @ self.transform.bias + torch.cat([0 * bias, bias])

    def logits(self, scores: Tensor, graph: DialogueGraph) -> EdgeValues:
        """[B, M, T, 6] -> the logit of every edge."""
        s0, s1, s2, t0, t1, t2 = scores.unbind(dim=-1)  # [B, M, T] each
        different = t0[..., :, None] + s0[..., None, :]  # [B, M, i, j]
        same = t1[..., :, None] + s1[..., None, :]
        intra = torch.where(graph.same[:, None], same, different)
        return EdgeValues(intra, t2[:, :, None] + s2[:, None, :])

    @abstractmethod
    def forward(self, logits: EdgeValues, graph: DialogueGraph) -> SparseGraph:
        """The gates and the penalty."""


class HardConcreteGate(EdgeScores):
    """Hard-concrete gates, whose temperature can be annealed over the epochs.

    Args:
        fixed: never noisy, with the official default values instead of those of the configuration.
    """

    def __init__(self, config: RIGSLConfig, *, fixed: bool = False) -> None:
        super().__init__(config)
        self.noisy = not fixed
        self.temperature = 2.0 if fixed else config.temperature
        self.anneal_to, self.anneal_epoch = config.anneal_to, config.anneal_epoch
        gamma, zeta = (-0.95, 1.05) if fixed else (config.gamma, config.zeta)
        self.shape = {"temperature": self.temperature, "gamma": gamma, "zeta": zeta}

    def forward(self, logits: EdgeValues, graph: DialogueGraph) -> SparseGraph:
        """The gates, with noise in training, and the penalty."""
        gates = EdgeValues(self._gate(logits.intra), self._gate(logits.cross))
        return sparse_graph(gates, graph, penalty=self._penalty(logits, graph))

    def anneal(self, epoch: int) -> None:
        """Set the temperature of epoch `epoch` (0-based)."""
        progress = min(epoch / self.anneal_epoch, 1.0)
        self.shape["temperature"] = self.temperature * self.anneal_to**progress

    def _gate(self, logit: Tensor) -> Tensor:
        noise = None
        if self.training and self.noisy:
            noise = torch.rand_like(logit) * (1 - 2e-7) + 1e-7  # never 0 or 1
        return hard_concrete(logit, uniform=noise, **self.shape)

    def _penalty(self, logits: EdgeValues, graph: DialogueGraph) -> Tensor:
        """Mean over the batch's edges of the probability that the gate is not zero."""
        intra = l0_penalty(logits.intra, **self.shape) * graph.intra[:, None]
        cross = l0_penalty(logits.cross, **self.shape) * cross_mask(graph)
        return (intra.sum() + cross.sum()) / graph.edges.sum().clamp_min(1)


class SparsemaxGate(EdgeScores):
    """The gates of a node's incoming edges are the sparsemax of their logits, so they sum to one (Martins and
    Astudillo, ICML 2016). The degree normaliser is one; the penalty is the share of edges kept, which has no
    gradient."""

    def __init__(self, config: RIGSLConfig, *, fixed: bool = False) -> None:
        super().__init__(config)  # nothing to fix: this gate has neither noise nor a temperature

    def forward(self, logits: EdgeValues, graph: DialogueGraph) -> SparseGraph:
        """The gates, the same in training and in evaluation."""
        # Finite, because logits are subtracted; still far below the threshold of any edge.
        intra = logits.intra.masked_fill(~graph.intra[:, None], _NO_EDGE)
        cross = logits.cross.masked_fill(~cross_mask(graph), _NO_EDGE).permute(0, 1, 3, 2)  # [B, M, T, M]
        incoming = sparsemax(torch.cat([intra, cross], dim=-1))
        within, across = torch.split(incoming, [intra.shape[-1], cross.shape[-1]], dim=-1)
        sparse = sparse_graph(EdgeValues(within, across.permute(0, 1, 3, 2)), graph)
        return dataclasses.replace(sparse, norm=torch.ones_like(sparse.norm))


#: `sparsifier` -> its gate.
GATES: dict[str, type[HardConcreteGate] | type[SparsemaxGate]] = {
    "hard_concrete": HardConcreteGate,
    "sparsemax": SparsemaxGate,
}
require_same_names(
    "sparsifier", {"rigsl.config.SPARSIFIERS": SPARSIFIERS, "rigsl.model.sparsify.GATES": GATES}
)


def make_gate(config: RIGSLConfig, *, fixed: bool = False) -> EdgeScores:
    """The gate that `sparsifier` names; `fixed`: see `HardConcreteGate`."""
    return GATES[config.sparsifier](config, fixed=fixed)


def propagate(x: Tensor, values: EdgeValues) -> Tensor:
    """out_i = sum over edges j -> i of value_ji x_j. Shapes: [B, M, T, d] -> [B, M, T, d]"""
    out = values.intra.to(x.dtype) @ x
    if x.shape[1] == 1:
        return out
    return out + torch.einsum("bmnt,bntd->bmtd", values.cross.to(x.dtype), x)


def cross_mask(graph: DialogueGraph) -> Tensor:
    """[B, M, M, T]: the edges between the modalities of an utterance, false for padding."""
    return graph.cross[:, :, None] & graph.real[:, None, None, :]
