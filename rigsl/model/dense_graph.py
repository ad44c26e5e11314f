"""The graph of a batch as masks: every pair of a dialogue's utterances has a slot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.model.edges import DialogueGraph, inverse_roots, unit_vectors
from rigsl.model.sparsemax import sparsemax

#: A logit where there is no edge: finite, because logits are subtracted, and far below any threshold.
NO_EDGE = -1e9


@dataclass(frozen=True)
class DenseGraph(DialogueGraph):
    """The dense form. A node vector is [B, M, T]; edge values are those of the pairs within a modality,
    followed by those across modalities (see `blocks`). Pairs that are not edges hold arbitrary values.

    near: [B, T, T] pairs (target i, source j) within the windows, each utterance with itself included; intra:
    the same without these, the edges within a modality; same: [B, T, T] pairs of the same speaker; cross:
    [B, M, M, T] edges between the modalities of an utterance.
    """

    near: Tensor
    intra: Tensor
    same: Tensor
    cross: Tensor

    def indegree(self) -> Tensor:
        """Number of edges that end in a node: [B, T], the same for every modality."""
        return self.intra.sum(dim=2) + self.modalities - 1

    @cached_property
    def shares(self) -> tuple[Tensor, Tensor]:
        """The share of each edge in the mean of the link loss, zero where there is none:
        1 / (indegree of its target * edges of its dialogue). [B, T, T], [B, M, M, T]"""
        share = 1.0 / (self.indegree().clamp_min(1) * self.edges.clamp_min(1)[:, None])  # [B, T]
        return self.intra * share[:, :, None], self.cross * share[:, None, None]

    @cached_property
    def mask(self) -> Tensor:
        parts = (self._intra(), self.cross)
        return torch.cat([part.flatten() for part in parts]).to(torch.get_default_dtype())

    def blocks(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Views of edge values within a modality, [..., B, M, T, T] as [target i, source j], and across
        modalities, [..., B, M, M, T] as [target modality, source modality, utterance]. Shapes: [..., E]"""
        (size, longest), modalities = self.real.shape, self.modalities
        within = size * modalities * longest**2
        before = values.shape[:-1]
        return (
            values[..., :within].view(*before, size, modalities, longest, longest),
            values[..., within:].view(*before, size, modalities, modalities, longest),
        )

    def sums(self, scores: Tensor) -> Tensor:
        sums: Tensor = _EdgeSums.apply(scores, self)  # type: ignore[no-untyped-call]
        return sums

    def ends(self, norm: Tensor) -> Tensor:
        ends = norm.new_empty(len(self.mask))
        intra, cross = self.blocks(ends)
        torch.mul(norm[..., :, None], norm[..., None, :], out=intra)
        torch.mul(norm[:, :, None], norm[:, None], out=cross)
        return ends

    def outgoing(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        intra, cross = self.blocks(kept)
        within, across = intra.sum(dim=2), cross.sum(dim=1)  # over targets -> [B, M, T]
        same = (intra * self.same[:, None]).sum()
        return within + across, torch.stack([within.sum() - same, same, across.sum()])

    def softmax_by_source(self, logits: Tensor) -> Tensor:
        intra, cross = self.blocks(logits.masked_fill(self.mask == 0, -torch.inf))
        largest = torch.maximum(intra.amax(dim=2), cross.amax(dim=1))  # [B, M, T], of each source
        largest = torch.where(largest.isfinite(), largest, 0.0).detach()
        intra = torch.exp(intra - largest[:, :, None])
        cross = torch.exp(cross - largest[:, None])
        total: Tensor = intra.sum(dim=2) + cross.sum(dim=1)
        total = torch.where(total > 0, total, 1.0)  # a node without edges
        return _joined(intra / total[:, :, None], cross / total[:, None])

    def sparsemax_by_target(self, logits: Tensor) -> Tensor:
        intra, cross = self.blocks(logits.masked_fill(self.mask == 0, NO_EDGE))
        incoming = sparsemax(torch.cat([intra, cross.transpose(2, 3)], dim=-1))  # [B, M, T, T + M]
        within, across = torch.split(incoming, [self.batch.longest, self.modalities], dim=-1)
        return _joined(within, across.transpose(2, 3))

    def propagate(self, x: Tensor, values: Tensor) -> Tensor:
        out: Tensor = _Messages.apply(x, values.to(x.dtype), self)  # type: ignore[no-untyped-call]
        return out

    def similarities(self, x: Tensor, similarity: Callable[[Tensor], Tensor]) -> Tensor:
        unit = unit_vectors(self.batch.pad(x, self.modalities))
        with torch.autocast(x.device.type, enabled=False):  # a rounded cosine of 1 has no finite gradient
            intra = similarity(unit @ unit.transpose(-1, -2)) * self.near[:, None]
            cross = similarity(torch.einsum("bmtd,bntd->bmnt", unit, unit)) * self.cross
        degree = intra.sum(dim=3) + cross.sum(dim=2)  # over sources -> [B, M, T]
        norm = inverse_roots(degree)
        intra = intra * norm[..., :, None] * norm[..., None, :]
        return _joined(intra, cross * norm[:, :, None] * norm[:, None])

    def listed(self) -> tuple[Tensor, Tensor, Tensor]:
        utterances = len(self.batch.rows)
        start = self.lengths.cumsum(0) - self.lengths
        rows = start[:, None] + torch.arange(self.batch.longest, device=self.real.device)  # [B, T]
        b, m, i, j = self._intra().nonzero(as_tuple=True)
        kind = self.same[b, i, j].long()
        c, target, source, t = self.cross.nonzero(as_tuple=True)
        return (
            torch.cat([m * utterances + rows[b, j], source * utterances + rows[c, t]]),
            torch.cat([m * utterances + rows[b, i], target * utterances + rows[c, t]]),
            torch.cat([kind, torch.full_like(c, 2)]),
        )

    def listed_values(self, values: Tensor) -> Tensor:
        intra, cross = self.blocks(values)
        return torch.cat([intra[self._intra()], cross[self.cross]])

    def _intra(self) -> Tensor:
        """[B, M, T, T]: the edges within a modality, for every modality."""
        return self.intra[:, None].expand(-1, self.modalities, -1, -1)


def _joined(intra: Tensor, cross: Tensor) -> Tensor:
    """Edge values of both blocks. -> [E]"""
    return torch.cat([intra.flatten(), cross.flatten()])


class _EdgeSums(torch.autograd.Function):
    """`DenseGraph.sums`."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, graph: DenseGraph) -> Tensor:
        ctx.graph, ctx.columns = graph, scores.shape[1]
        columns = graph.batch.slots(scores, graph.modalities).unbind(dim=-1)  # [B, M, T] each
        sums = scores.new_empty(len(columns) // 2 - 2, len(graph.mask))
        intra, cross = graph.blocks(sums)
        different, same = (columns[3 + kind][..., None] + columns[kind][..., None, :] for kind in (0, 1))
        torch.where(graph.same[:, None], same, different, out=intra[0])
        torch.add(columns[5][:, :, None], columns[2][:, None], out=cross[0])
        if len(sums) > 1:
            torch.add(columns[6][..., None], columns[7][..., None, :], out=intra[1])
            torch.add(columns[6][:, :, None], columns[7][:, None], out=cross[1])
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        graph = ctx.graph
        intra, cross = graph.blocks(gradient)
        result = gradient.new_empty(*intra.shape[1:4], ctx.columns)
        columns = result.unbind(dim=-1)
        same = intra[0] * graph.same[:, None]
        for kind, part in enumerate((intra[0] - same, same)):
            torch.sum(part, dim=2, out=columns[kind])  # over targets
            torch.sum(part, dim=3, out=columns[3 + kind])  # over sources
        torch.sum(cross[0], dim=1, out=columns[2])
        torch.sum(cross[0], dim=2, out=columns[5])
        if len(gradient) > 1:
            torch.add(intra[1].sum(dim=3), cross[1].sum(dim=2), out=columns[6])
            torch.add(intra[1].sum(dim=2), cross[1].sum(dim=1), out=columns[7])
        return graph.batch.from_slots(result), None


class _Messages(torch.autograd.Function):
    """`DenseGraph.propagate`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, graph: DenseGraph) -> Tensor:
        padded = graph.batch.slots(x, graph.modalities)
        intra, cross = graph.blocks(values)
        out = intra @ padded
        for target, source in permutations(range(graph.modalities), 2):
            out[:, target].addcmul_(cross[:, target, source, :, None], padded[:, source])
        ctx.save_for_backward(padded, values)
        ctx.graph = graph
        return graph.batch.from_slots(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (padded, values), graph = ctx.saved_tensors, ctx.graph
        gradient = graph.batch.slots(gradient, graph.modalities)
        intra, cross = graph.blocks(values)
        d_values = torch.zeros_like(values)
        d_intra, d_cross = graph.blocks(d_values)
        torch.matmul(gradient, padded.transpose(-1, -2), out=d_intra)
        d_padded = intra.transpose(-1, -2) @ gradient
        for target, source in permutations(range(graph.modalities), 2):
            d_padded[:, source].addcmul_(cross[:, target, source, :, None], gradient[:, target])
            torch.sum(gradient[:, target] * padded[:, source], dim=-1, out=d_cross[:, target, source])
        return graph.batch.from_slots(d_padded), d_values, None


def dense_graph(batch: Batch, config: RIGSLConfig) -> DenseGraph:
    """All ordered pairs of different utterances of a modality (within the windows), and all ordered pairs of
    different modalities of an utterance."""
    modalities, longest = len(config.modalities), batch.longest
    device, lengths = batch.label.device, batch.sizes
    time = torch.arange(longest, device=device)
    real = time < lengths[:, None]
    distance = time[None, :] - time[:, None]  # j - i, source minus target
    near = torch.ones_like(distance, dtype=torch.bool)
    if config.windowp >= 0:
        near = near & (distance >= -config.windowp)
    if config.windowf >= 0:
        near = near & (distance <= config.windowf)
    near = near & real[:, :, None] & real[:, None, :]
    intra = near & (distance != 0)
    speaker = batch.pad(batch.speaker)[:, 0]
    cross = ~torch.eye(modalities, dtype=torch.bool, device=device)
    same = speaker[:, :, None] == speaker[:, None, :]
    crossing = lengths * modalities * (modalities - 1)
    edges = modalities * intra.sum(dim=(1, 2)) + crossing
    same_speaker = modalities * (intra & same).sum()
    return DenseGraph(
        batch=batch,
        real=real,
        modalities=modalities,
        edges=edges,
        by_type=torch.stack([edges.sum() - crossing.sum() - same_speaker, same_speaker, crossing.sum()]),
        near=near,
        intra=intra,
        same=same,
        cross=cross[:, :, None] & real[:, None, None, :],
    )
