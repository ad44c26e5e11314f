"""Context-aware graph sparsification (CGS): hard-concrete gates on the edges of a dialogue graph.

Source: RIGSL section 3; hard concrete distribution: Louizos et al., ICLR 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rigsl.config import RIGSLConfig
from rigsl.model.graph import DialogueGraph

#: Largest degree normaliser; an isolated node, whose degree^-0.5 is infinite, gets it.
LARGEST_NORM = 1.5


@dataclass(frozen=True)
class EdgeValues:
    """One value per edge j -> i. intra: [B, M, T, T] as [target i, source j]; cross: [B, M, M, T] as
    [target modality, source modality, utterance]. What is no edge holds an arbitrary value."""

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
    """clamp(degree^-0.5, 0, 1.5) of the number of outgoing edges that are left."""
    return degree.clamp_min(1e-30).rsqrt().clamp_max(LARGEST_NORM)


class EdgeGate(nn.Module):
    """Gates of all edges from node features x' = Lin(x).

    logit(j -> i) = w_type . [h_j ; h_i] + b_type with h = Transform(x'), linear in both ends: two
    scores a node and type, then a broadcast sum. Transform is folded into the score weights, so
    no node is ever transformed. Types: 0 different speakers, 1 same speaker, 2 other modality.

    Shapes: x' [..., d] -> scores [..., 6]; scores [B, M, T, 6] -> EdgeValues
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        d = config.hidden_dim
        self.transform = nn.Linear(d, d)
        self.score = nn.ModuleList(nn.Linear(2 * d, 1) for _ in range(3))
        # The official M3Net gate is built with these defaults and never told that it is training (row 2).
        official = config.official_quirks and config.backbone == "M3Net"
        self.shape = {
            "temperature": 2.0 if official else config.temperature,
            "gamma": -0.95 if official else config.gamma,
            "zeta": 1.05 if official else config.zeta,
        }
        self.noisy = not official

    def weights(self) -> tuple[Tensor, Tensor]:
        """Weight [6, d] and bias [6] that give a node's scores: as source of each type, then as target
        (the type's bias counted once, with the target)."""
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

    def gates(self, logits: EdgeValues) -> EdgeValues:
        """The gate of every edge; noisy in training."""
        return EdgeValues(self._gate(logits.intra), self._gate(logits.cross))

    def _gate(self, logit: Tensor) -> Tensor:
        noise = None
        if self.training and self.noisy:
            noise = torch.rand_like(logit) * (1 - 2e-7) + 1e-7  # never 0 or 1
        return hard_concrete(logit, uniform=noise, **self.shape)

    def penalty(self, logits: EdgeValues, graph: DialogueGraph) -> Tensor:
        """Mean over the batch's edges of the probability that the edge survives."""
        intra = l0_penalty(logits.intra, **self.shape) * graph.intra[:, None]
        cross = l0_penalty(logits.cross, **self.shape) * cross_mask(graph)
        return (intra.sum() + cross.sum()) / graph.edges.sum().clamp_min(1)


@dataclass(frozen=True)
class SparseGraph:
    """The gates (zero where there is no edge), the degree normaliser [B, M, T] of every node, and the
    share of predefined edges that are left (scalar)."""

    gates: EdgeValues
    norm: Tensor
    kept: Tensor

    def normalised(self) -> EdgeValues:
        """s_i s_j g_ji of every edge."""
        norm = self.norm
        return EdgeValues(
            self.gates.intra * norm[..., :, None] * norm[..., None, :],
            self.gates.cross * norm[:, :, None] * norm[:, None, :],
        )


def sparsify(gates: EdgeValues, graph: DialogueGraph) -> SparseGraph:
    """Set to zero what is no edge, and count the outgoing edges that are left."""
    intra = gates.intra * graph.intra[:, None]
    cross = gates.cross * cross_mask(graph)
    degree = (intra != 0).sum(dim=2) + (cross != 0).sum(dim=1)  # over targets -> [B, M, T]
    kept = degree.sum() / graph.edges.sum().clamp_min(1)
    return SparseGraph(EdgeValues(intra, cross), degree_norm(degree.to(intra.dtype)), kept)


def propagate(x: Tensor, values: EdgeValues) -> Tensor:
    """out_i = sum over edges j -> i of value_ji x_j. Shapes: [B, M, T, d] -> [B, M, T, d]"""
    out = values.intra.to(x.dtype) @ x
    if x.shape[1] == 1:
        return out
    return out + torch.einsum("bmnt,bntd->bmtd", values.cross.to(x.dtype), x)


def cross_mask(graph: DialogueGraph) -> Tensor:
    """[B, M, M, T]: the edges between modalities of utterances that exist."""
    return graph.cross[:, :, None] & graph.real[:, None, None, :]
