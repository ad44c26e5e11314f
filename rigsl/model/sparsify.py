"""Context-aware graph sparsification (CGS): hard-concrete gates on the edges of a dialogue graph.

Source: RIGSL, section 3; hard concrete distribution: Louizos et al., ICLR 2018. Formulas: docs/model.md,
section 3.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rigsl.config import SPARSIFIERS, RIGSLConfig
from rigsl.model.edges import DialogueGraph, EdgeValues
from rigsl.model.linear import Linear
from rigsl.registry import require_same_names

#: Upper limit of the degree normaliser; an isolated node, whose degree^-0.5 is infinite, gets this value.
MAX_NORM = 1.5


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


def uniform_noise(like: Tensor) -> Tensor:
    """Uniform numbers in [0, 1), one for each number of `like`."""
    return torch.rand_like(like)


def l0_penalty(logit: Tensor, *, temperature: float, gamma: float, zeta: float) -> Tensor:
    """Probability that an edge's gate is not zero (Louizos et al., eq. 12), elementwise."""
    return torch.sigmoid(logit - temperature * math.log(-gamma / zeta))


def degree_norm(degree: Tensor) -> Tensor:
    """clamp(degree^-0.5, 0, 1.5), where the degree is the number of outgoing edges that are kept."""
    return degree.clamp_min(1e-30).rsqrt().clamp_max(MAX_NORM)


@dataclass(frozen=True)
class SparseGraph:
    """gates: zero where there is no edge; norm: the degree normaliser, a node vector of the graph; penalty:
    scalar; kept: [3] the share of the predefined edges whose gate is not zero, by type."""

    gates: EdgeValues
    norm: Tensor
    penalty: Tensor
    kept: Tensor


def sparse_graph(gates: EdgeValues, graph: DialogueGraph, penalty: Tensor | None = None) -> SparseGraph:
    """The graph of these gates, which are set to zero where there is no edge. The penalty is the share of
    all edges that are kept, unless one is given."""
    gates = graph.masked(gates)
    degree, counts = graph.outgoing(gates.map(lambda gate: gate != 0))
    if penalty is None:
        penalty = counts.sum() / graph.edges.sum().clamp_min(1)
    kept = counts / graph.by_type.clamp_min(1)
    return SparseGraph(gates, degree_norm(degree.to(gates.parts[0].dtype)), penalty, kept)


class EdgeScores(nn.Module):
    """The logit of every edge; a subclass turns the logits into a `SparseGraph`.

    logit(j -> i) = w_type . [h_j ; h_i] + b_type with h = Transform(x') is linear in both ends, so that two
    scores per node and type and a broadcast sum are enough. Transform is folded into the score weights and
    never applied to a node. Types: 0 different speakers, 1 same speaker, 2 different modalities.

    Shapes: x' [..., d] -> scores [..., 6]
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

    def logits(self, scores: Sequence[Tensor], graph: DialogueGraph) -> EdgeValues:
        """The node vectors of the six scores -> the logit of every edge."""
        return graph.sums_by_kind(source=scores[:3], target=scores[3:])

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
        # The mean over the batch's edges of the probability that the gate is not zero.
        penalty = graph.mean(logits.map(lambda logit: l0_penalty(logit, **self.shape)))
        return sparse_graph(logits.map(self._gate), graph, penalty)

    def anneal(self, epoch: int) -> None:
        """Set the temperature of epoch `epoch` (0-based)."""
        progress = min(epoch / self.anneal_epoch, 1.0)
        self.shape["temperature"] = self.temperature * self.anneal_to**progress

    def _gate(self, logit: Tensor) -> Tensor:
        noise = None
        if self.training and self.noisy:
            noise = uniform_noise(logit) * (1 - 2e-7) + 1e-7  # never 0 or 1
        return hard_concrete(logit, uniform=noise, **self.shape)


class SparsemaxGate(EdgeScores):
    """The gates of a node's incoming edges are the sparsemax of their logits, so they sum to one (Martins and
    Astudillo, ICML 2016). The degree normaliser is one; the penalty is the share of edges kept, which has no
    gradient."""

    def __init__(self, config: RIGSLConfig, *, fixed: bool = False) -> None:
        super().__init__(config)  # nothing to fix: this gate has neither noise nor a temperature

    def forward(self, logits: EdgeValues, graph: DialogueGraph) -> SparseGraph:
        """The gates, the same in training and in evaluation."""
        sparse = sparse_graph(graph.sparsemax_by_target(logits), graph)
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
