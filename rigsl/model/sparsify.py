"""Context-aware graph sparsification (CGS): hard-concrete gates on the edges of a dialogue graph.

Source: RIGSL, section 3; hard concrete distribution: Louizos et al., ICLR 2018. Formulas: docs/model.md,
section 3.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rigsl.config import SPARSIFIERS, RIGSLConfig
from rigsl.model.edges import DialogueGraph
from rigsl.model.linear import Linear
from rigsl.registry import require_same_names

#: Upper limit of the degree normaliser; an isolated node, whose degree^-0.5 is infinite, gets this value.
MAX_NORM = 1.5


def hard_concrete(
    logit: Tensor,
    mask: Tensor,
    *,
    temperature: float,
    gamma: float,
    zeta: float,
    uniform: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gate of each edge in [0, 1], clamp(z (zeta - gamma) + gamma), and the probability that it is not zero,
    sigmoid(logit - temperature log(-gamma / zeta)); both times `mask`, which is 0 or 1.

    With noise `uniform` in (0, 1): z = sigmoid((log u - log(1 - u) + logit) / temperature), else
    z = sigmoid(logit). (Louizos et al., eqs. 10-12; the evaluation form is RIGSL's own.)

    Shapes: [E] -> [E], [E]
    """
    result: tuple[Tensor, Tensor] = _HardConcrete.apply(  # type: ignore[no-untyped-call]
        logit, mask, uniform, temperature, gamma, zeta
    )
    return result


class _HardConcrete(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logit: Tensor,
        mask: Tensor,
        uniform: Tensor | None,
        temperature: float,
        gamma: float,
        zeta: float,
    ) -> tuple[Tensor, Tensor]:
        noisy = logit if uniform is None else uniform.logit().add_(logit).div_(temperature)
        z = noisy.sigmoid()
        gate = (z * (zeta - gamma)).add_(gamma).clamp_(0.0, 1.0).mul_(mask)
        probability = (logit - temperature * math.log(-gamma / zeta)).sigmoid_().mul_(mask)
        ctx.save_for_backward(z, gate, probability)
        ctx.slope = (zeta - gamma) / (1.0 if uniform is None else temperature)
        return gate, probability

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_gate: Tensor, d_probability: Tensor) -> tuple[Tensor | None, ...]:
        z, gate, probability = ctx.saved_tensors
        # Zero where the gate is 0 or 1, so also where there is no edge.
        d_z = torch.ops.aten.hardtanh_backward(d_gate, gate, 0.0, 1.0)
        d_logit = torch.ops.aten.sigmoid_backward(d_probability, probability)
        d_logit.add_(torch.ops.aten.sigmoid_backward(d_z, z), alpha=ctx.slope)
        return d_logit, None, None, None, None, None


def uniform_noise(like: Tensor) -> Tensor:
    """Uniform numbers in [0, 1), one for each number of `like`."""
    return torch.rand_like(like)


def degree_norm(degree: Tensor) -> Tensor:
    """clamp(degree^-0.5, 0, 1.5), where the degree is the number of outgoing edges that are kept."""
    return degree.clamp_min(1e-30).rsqrt().clamp_max(MAX_NORM)


@dataclass(frozen=True)
class SparseGraph:
    """gates: [E] zero where there is no edge; norm: the degree normaliser, a node vector of the graph;
    penalty: scalar; kept: [3] the share of the predefined edges whose gate is not zero, by type."""

    gates: Tensor
    norm: Tensor
    penalty: Tensor
    kept: Tensor


def sparse_graph(gates: Tensor, graph: DialogueGraph, penalty: Tensor | None = None) -> SparseGraph:
    """The graph of these gates, which are zero where there is no edge. The penalty is the share of all edges
    that are kept, unless one is given."""
    degree, counts = graph.outgoing(gates.detach().sign())
    if penalty is None:
        penalty = counts.sum() / graph.total
    return SparseGraph(gates, degree_norm(degree), penalty, counts / graph.by_type.clamp_min(1))


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
        pairs = pairs.view(3, 2, -1)  # [kind, source or target, d]
        ends = pairs.transpose(0, 1).flatten(0, 1)  # [6, d]: sources, then targets
        biases = [score.get_parameter("bias") for score in self.score]
        bias = torch.cat([pairs.new_zeros(len(biases)), *biases])
        return ends @ self.transform.weight, torch.addmv(bias, ends, self.transform.bias)

    @abstractmethod
    def forward(self, logits: Tensor, graph: DialogueGraph) -> SparseGraph:
        """The gates and the penalty, for the logit of every edge. [E]"""


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

    def forward(self, logits: Tensor, graph: DialogueGraph) -> SparseGraph:
        """The gates, with noise in training, and the penalty: the mean over the batch's edges of the
        probability that the gate is not zero."""
        noise = None
        if self.training and self.noisy:
            noise = (uniform_noise(logits) * (1 - 2e-7)).add_(1e-7)  # never 0 or 1
        gates, probability = hard_concrete(logits, graph.mask, uniform=noise, **self.shape)
        return sparse_graph(gates, graph, probability.sum() / graph.total)

    def anneal(self, epoch: int) -> None:
        """Set the temperature of epoch `epoch` (0-based)."""
        progress = min(epoch / self.anneal_epoch, 1.0)
        self.shape["temperature"] = self.temperature * self.anneal_to**progress


class SparsemaxGate(EdgeScores):
    """The gates of a node's incoming edges are the sparsemax of their logits, so they sum to one (Martins and
    Astudillo, ICML 2016). The degree normaliser is one; the penalty is the share of edges kept, which has no
    gradient."""

    def __init__(self, config: RIGSLConfig, *, fixed: bool = False) -> None:
        super().__init__(config)  # nothing to fix: this gate has neither noise nor a temperature

    def forward(self, logits: Tensor, graph: DialogueGraph) -> SparseGraph:
        """The gates, the same in training and in evaluation."""
        sparse = sparse_graph(graph.sparsemax_by_target(logits) * graph.mask, graph)
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
