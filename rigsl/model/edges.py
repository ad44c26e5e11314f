"""The interface of a dialogue graph: what gates, layers and losses compute on its edges, in any form of it
(docs/model.md, sections 3 and 7)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rigsl.data.batches import Batch
from rigsl.model.precision import full_precision

#: Of edges: between different speakers, of the same speaker, across modalities.
KINDS = 3


@dataclass(frozen=True)
class EdgeValues:
    """One value per edge j -> i, as one or more tensors whose shapes the graph knows."""

    parts: tuple[Tensor, ...]

    def map(self, function: Callable[[Tensor], Tensor]) -> EdgeValues:
        """The function of every value."""
        return EdgeValues(tuple(function(part) for part in self.parts))

    def __mul__(self, other: EdgeValues) -> EdgeValues:
        """The product of both values of every edge."""
        pairs = zip(self.parts, other.parts, strict=True)
        return EdgeValues(tuple(mine * theirs for mine, theirs in pairs))


@dataclass(frozen=True)
class DialogueGraph(ABC):
    """Edges j -> i between the nodes (modality m, utterance t) of each dialogue, with M modalities.

    batch: whose dialogues these are; real: [B, T] true for utterances, false for padding; modalities: M;
    edges: [B] number of edges of each dialogue; by_type: [3] number of edges of the batch of each kind.

    A form of the graph says how node vectors (one number per node) and `EdgeValues` are laid out. Node
    features are always rows [M * U, d], modality after modality.
    """

    batch: Batch
    real: Tensor
    modalities: int
    edges: Tensor
    by_type: Tensor

    @property
    def lengths(self) -> Tensor:
        """[B] utterances of each dialogue."""
        return self.batch.sizes

    @abstractmethod
    def node_vectors(self, rows: Tensor) -> tuple[Tensor, ...]:
        """[M * U, n] -> n node vectors."""

    @abstractmethod
    def sums_by_kind(self, source: Sequence[Tensor], target: Sequence[Tensor]) -> EdgeValues:
        """The source's number plus the target's, of node vectors for each of the three kinds of edges."""

    @abstractmethod
    def sums(self, source: Tensor, target: Tensor) -> EdgeValues:
        """The source's number plus the target's."""

    @abstractmethod
    def scaled(self, values: EdgeValues, norm: Tensor) -> EdgeValues:
        """The values times both ends' numbers of the node vector `norm`."""

    @abstractmethod
    def masked(self, values: EdgeValues) -> EdgeValues:
        """The values, zero where there is no edge."""

    @abstractmethod
    def outgoing(self, kept: EdgeValues) -> tuple[Tensor, Tensor]:
        """How many edges are marked true in `kept`: by source, a node vector, and by kind [3]."""

    @abstractmethod
    def softmax_by_source(self, logits: EdgeValues) -> EdgeValues:
        """The softmax over the edges that share a source; zero where there is no edge."""

    @abstractmethod
    def sparsemax_by_target(self, logits: EdgeValues) -> EdgeValues:
        """The sparsemax over the edges that share a target; arbitrary where there is no edge."""

    @abstractmethod
    def propagate(self, x: Tensor, values: EdgeValues) -> Tensor:
        """out_i = sum over edges j -> i of value_ji x_j. Shapes: [M * U, d] -> [M * U, d]"""

    @abstractmethod
    def similarities(self, x: Tensor, similarity: Callable[[Tensor], Tensor]) -> EdgeValues:
        """A_ij / sqrt(D_i D_j) for `propagate`: A is `similarity` of the cosine of both ends of every edge,
        and of every node with itself; D_i the sum of A over what ends in i. Shapes: x [M * U, d]"""

    @abstractmethod
    def listed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Source, target and kind of every edge; node (m, u) has the number m * U + u. Shapes: [E] each"""

    @abstractmethod
    def listed_values(self, values: EdgeValues) -> Tensor:
        """The values in the order of `listed`. [E]"""

    def mean(self, values: EdgeValues) -> Tensor:
        """The mean over the edges; 0 without edges."""
        total = torch.stack([part.sum() for part in self.masked(values).parts]).sum()
        return total / self.edges.sum().clamp_min(1)


def unit_vectors(x: Tensor) -> Tensor:
    """The vectors divided by their lengths. Shapes: [..., d] -> [..., d]"""
    return F.normalize(full_precision(x), dim=-1, eps=1e-12)


def inverse_roots(degree: Tensor) -> Tensor:
    """degree^-0.5, and 1 where the degree is not positive."""
    return torch.where(degree > 0, degree, 1.0).rsqrt()
