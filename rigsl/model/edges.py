"""The interface of a dialogue graph: what gates, layers and losses compute on its edges, in any form of it
(docs/model.md, sections 3 and 7)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from rigsl.data.batches import Batch
from rigsl.model.precision import full_precision

#: Of edges: between different speakers, of the same speaker, across modalities.
KINDS = 3


@dataclass(frozen=True)
class DialogueGraph(ABC):
    """Edges j -> i between the nodes (modality m, utterance t) of each dialogue, with M modalities.

    batch: whose dialogues these are; real: [B, T] true for utterances, false for padding; modalities: M;
    edges: [B] number of edges of each dialogue; by_type: [3] number of edges of the batch of each kind.

    A form of the graph says how node vectors (one number per node) and edge values are laid out. Edge values
    are one number per edge in a tensor [E], which may have slots without an edge. Node features are always
    rows [M * U, d], modality after modality.
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

    @cached_property
    def real_nodes(self) -> Tensor:
        """[B, M * T] true for nodes, false for padding."""
        return self.real.repeat(1, self.modalities)

    @cached_property
    def total(self) -> Tensor:
        """The number of edges of the batch, at least 1."""
        return self.edges.sum().clamp_min(1)

    @property
    @abstractmethod
    def mask(self) -> Tensor:
        """1 where there is an edge, 0 in a slot without one: edge values, or one number for all."""

    @abstractmethod
    def sums(self, scores: Tensor) -> Tensor:
        """The source's number plus the target's, for every edge.

        Of the first six numbers of a node, three are those as a source of each kind of edge, and three those
        as a target; they give the first row. The next two, as a target and as a source of any edge, give the
        second row.

        Shapes: [M * U, 6 or 8] -> [1 or 2, E]
        """

    @abstractmethod
    def ends(self, norm: Tensor) -> Tensor:
        """The product of both ends' numbers of the node vector `norm`, which has no gradient. -> [E]"""

    @abstractmethod
    def outgoing(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """How many edges have a 1 in `kept` [E], whose other values are 0: by source, a node vector, and by
        kind [3]."""

    @abstractmethod
    def softmax_by_source(self, logits: Tensor) -> Tensor:
        """The softmax over the edges that share a source; zero where there is no edge. [E] -> [E]"""

    @abstractmethod
    def sparsemax_by_target(self, logits: Tensor) -> Tensor:
        """The sparsemax over the edges that share a target; arbitrary where there is no edge. [E] -> [E]"""

    @abstractmethod
    def propagate(self, x: Tensor, values: Tensor) -> Tensor:
        """out_i = sum over edges j -> i of value_ji x_j. Shapes: [M * U, d], [E] -> [M * U, d]"""

    @abstractmethod
    def similarities(self, x: Tensor, similarity: Callable[[Tensor], Tensor]) -> Tensor:
        """A_ij / sqrt(D_i D_j) for `propagate`: A is `similarity` of the cosine of both ends of every edge,
        and of every node with itself; D_i the sum of A over what ends in i. Shapes: x [M * U, d]"""

    @abstractmethod
    def listed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Source, target and kind of every edge; node (m, u) has the number m * U + u, and a list no slots
        without an edge. Shapes: [edges] each"""

    @abstractmethod
    def listed_values(self, values: Tensor) -> Tensor:
        """The values [E] in the order of `listed`. [edges]"""


def unit_vectors(x: Tensor) -> Tensor:
    """The vectors divided by their lengths. Shapes: [..., d] -> [..., d]"""
    return F.normalize(full_precision(x), dim=-1, eps=1e-12)


def inverse_roots(degree: Tensor) -> Tensor:
    """degree^-0.5, and 1 where the degree is not positive."""
    return torch.where(degree > 0, degree, 1.0).rsqrt()
