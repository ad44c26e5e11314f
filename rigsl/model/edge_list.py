"""The graph of a batch as a list of its edges, for long dialogues: numbers and time grow with the edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch, on_device
from rigsl.data.gather import PaddedIndex, permuted
from rigsl.model.dense_graph import NO_EDGE
from rigsl.model.edges import KINDS, DialogueGraph, inverse_roots, unit_vectors
from rigsl.model.heap import return_large_blocks
from rigsl.model.sparse_products import Pattern, inner_products, weighted_sums
from rigsl.model.sparsemax import sparsemax

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class EdgeList(DialogueGraph):
    """The sparse form. A node vector is [M * U]; edge values are [E] in the order of the targets, for
    `similarities` followed by the value of each node with itself [M * U].

    Sums over the edges of a node are those of torch_geometric: torch-scatter's where it is installed.

    pattern: the edges as a matrix (target, source); kind: [E]; by_source: [E] the edges in the order of their
    sources; by_target: [E] the inverse order; target_by_kind, source_by_kind: [E] the ends of each edge in a
    table of node vectors for each kind; slots: between edges and slots (target, one of the edges that may end
    in it).
    """

    pattern: Pattern
    kind: Tensor
    by_source: Tensor
    by_target: Tensor
    target_by_kind: Tensor
    source_by_kind: Tensor
    slots: PaddedIndex

    def dialogue_edges(self) -> Tensor:
        """The number of edges in the dialogue of each edge. [E]"""
        return self.edges[self.batch.dialogues.sequence][self.pattern.row % len(self.batch.rows)]

    def dialogue_sums(self, x: Tensor) -> Tensor:
        """For every node the sum over all nodes of its dialogue. Shapes: [M * U, d] -> [M * U, d]"""
        utterances = x.reshape(self.modalities, -1, x.shape[1]).sum(dim=0)  # [U, d]
        start = torch.cat([self.lengths.new_zeros(1), self.lengths.cumsum(0)])
        sums = _segment_sums(utterances, start)  # [B, d]
        return sums.repeat_interleave(self.lengths, dim=0, output_size=len(utterances)).repeat(
            self.modalities, 1
        )

    def indegree(self) -> Tensor:
        """Number of edges that end in a node: [M * U]"""
        return self.pattern.start.diff()

    @cached_property
    def mask(self) -> Tensor:
        return torch.ones((), device=self.kind.device)

    def sums(self, scores: Tensor) -> Tensor:
        columns = scores.unbind(dim=-1)  # [M * U] each
        starts, ends = torch.stack(columns[:3]).flatten(), torch.stack(columns[3:6]).flatten()  # [3 * M * U]
        sums = [_taken(ends, self.target_by_kind) + _taken(starts, self.source_by_kind)]
        if len(columns) > 6:
            sums.append(_taken(columns[6], self.pattern.row) + _taken(columns[7], self.pattern.column))
        return torch.stack(sums)

    def ends(self, norm: Tensor) -> Tensor:
        return _taken(norm, self.pattern.row) * _taken(norm, self.pattern.column)

    def outgoing(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        degree = _segment_sums(kept[self.by_source], self.pattern.column_start)
        counts = [(kept * (self.kind == kind)).sum() for kind in range(KINDS)]
        return degree, torch.stack(counts)

    def softmax_by_source(self, logits: Tensor) -> Tensor:
        ordered = permuted(logits[None], self.by_source, self.by_target)[0]
        shares = _segment_softmax(ordered, self.pattern.column_start)
        return permuted(shares[None], self.by_target, self.by_source)[0]

    def sparsemax_by_target(self, logits: Tensor) -> Tensor:
        if not len(logits):
            return logits
        padded = self.slots.pad(logits).index_fill(0, self.slots.padding, NO_EDGE)
        incoming = sparsemax(padded.reshape(len(self.pattern.start) - 1, -1))
        return self.slots.unpad(incoming.flatten())

    def propagate(self, x: Tensor, values: Tensor) -> Tensor:
        edges, loops = values[: len(self.kind)], values[len(self.kind) :]
        out = weighted_sums(self.pattern, edges, x)
        return out if not len(loops) else out + loops.to(x.dtype)[:, None] * x

    def similarities(self, x: Tensor, similarity: Callable[[Tensor], Tensor]) -> Tensor:
        unit = unit_vectors(x)
        edges = similarity(inner_products(self.pattern, unit, unit))
        loops = similarity(unit.square().sum(dim=-1))
        degree = _segment_sums(edges, self.pattern.start) + loops
        norm = inverse_roots(degree)
        return torch.cat([edges * self.ends(norm), loops * norm * norm])

    def listed(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.pattern.column, self.pattern.row, self.kind

    def listed_values(self, values: Tensor) -> Tensor:
        return values


def _taken(numbers: Tensor, index: Tensor) -> Tensor:
    """numbers[index], with a faster gradient."""
    return numbers.index_select(0, index)


def edge_list(batch: Batch, config: RIGSLConfig) -> EdgeList:
    """The edges between the utterances of a modality within both windows, which are finite, and between
    the modalities of an utterance."""
    modalities, utterances = len(config.modalities), len(batch.rows)
    target, source, slot, width = _edges(np.array(batch.lengths), config, modalities)
    nodes = modalities * utterances
    by_source = np.argsort(source, kind="stable")
    by_target = np.empty_like(by_source)
    by_target[by_source] = np.arange(len(by_source))
    start, column_start = (
        np.concatenate([[0], np.bincount(ends, minlength=nodes).cumsum()]) for ends in (target, source)
    )
    row = np.full(nodes * width, -1)
    row[slot] = np.arange(len(slot))
    device = batch.label.device
    if device.type == "cpu":
        return_large_blocks()
    matrix = [start, source, target, by_source, column_start]
    slots = [np.maximum(row, 0), slot, np.flatnonzero(row < 0)]
    tensors = on_device([*matrix, by_target, *slots], device)
    pattern = Pattern(*tensors[:5])
    speaker = batch.speaker
    same = speaker[pattern.row % utterances] == speaker[pattern.column % utterances]
    across = pattern.row // utterances != pattern.column // utterances
    kind = torch.where(across, 2, same.long())
    crossing = batch.sizes * modalities * (modalities - 1)
    real = torch.arange(batch.longest, device=device) < batch.sizes[:, None]
    position = batch.dialogues.position
    length = batch.sizes[batch.dialogues.sequence]
    degree = position.clamp_max(config.windowp) + (length - 1 - position).clamp_max(config.windowf)
    within = batch.pad(degree)[:, 0].sum(dim=1)
    return EdgeList(
        batch=batch,
        real=real,
        modalities=modalities,
        edges=modalities * within + crossing,
        by_type=torch.stack([(kind == each).sum() for each in range(KINDS)]),
        pattern=pattern,
        kind=kind,
        by_source=pattern.transposed,
        by_target=tensors[5],
        target_by_kind=kind * nodes + pattern.row,
        source_by_kind=kind * nodes + pattern.column,
        slots=PaddedIndex(*tensors[6:]),
    )


def _edges(lengths: Indices, config: RIGSLConfig, modalities: int) -> tuple[Indices, Indices, Indices, int]:
    """Target, source and slot of every edge, in the order of target and source, and the slots of a node.

    Node (m, u) has the number m * U + u; its slots are the other modalities before m, the utterances from the
    first to the last one of the windows, and the modalities after m.
    """
    utterances = int(lengths.sum())
    position = np.arange(utterances) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    longest = int(lengths.max())
    past, future = min(config.windowp, longest - 1), min(config.windowf, longest - 1)
    offset = np.concatenate([np.arange(-past, 0), np.arange(1, future + 1)])
    at = position[:, None] + offset  # [U, W]
    inside = (at >= 0) & (at < np.repeat(lengths, lengths)[:, None])
    row = np.arange(utterances)[:, None]
    sources, there = [], []
    for m in range(modalities):
        before, after = np.arange(m) - m, np.arange(m + 1, modalities) - m
        cross = [row + others * utterances for others in (before, after)]  # [U, M - 1] in total
        always = [np.ones(part.shape, dtype=bool) for part in cross]
        sources.append(np.concatenate([cross[0], row + offset, cross[1]], axis=1) + m * utterances)
        there.append(np.concatenate([always[0], inside, always[1]], axis=1))
    source, exists = np.concatenate(sources), np.concatenate(there)  # [M * U, W + M - 1]
    width = source.shape[1]
    slot = np.flatnonzero(exists)
    return slot // width if width else slot, source.ravel()[slot], slot, width


def _segment_sums(values: Tensor, start: Tensor) -> Tensor:
    """Sums of neighbouring values, from each start to the next. [E, ...], [n + 1] -> [n, ...]"""
    from torch_geometric.utils import segment  # seconds of imports, only where dialogues are long

    sums: Tensor = segment(values, start)
    return sums


def _segment_softmax(values: Tensor, start: Tensor) -> Tensor:
    """The softmax of neighbouring values, from each start to the next. [E, ...], [n + 1] -> [E, ...]"""
    from torch_geometric.utils import softmax

    shares: Tensor = softmax(values, ptr=start)
    return shares
