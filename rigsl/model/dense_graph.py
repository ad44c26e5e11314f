"""The graph of a batch as masks: every pair of a dialogue's utterances has a slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.model.edges import DialogueGraph, EdgeValues, inverse_roots, unit_vectors
from rigsl.model.sparsemax import sparsemax

#: A logit where there is no edge: finite, because logits are subtracted, and far below any threshold.
NO_EDGE = -1e9


@dataclass(frozen=True)
class DenseGraph(DialogueGraph):
    """The dense form. A node vector is [B, M, T]; `EdgeValues` are a pair: [B, M, T, T] as [target i,
    source j] within a modality, [B, M, M, T] as [target modality, source modality, utterance] across them.
    Pairs that are not edges hold arbitrary values.

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

    def node_vectors(self, rows: Tensor) -> tuple[Tensor, ...]:
        return self.batch.pad(rows, self.modalities).unbind(dim=-1)

    def sums_by_kind(self, source: Sequence[Tensor], target: Sequence[Tensor]) -> EdgeValues:
        (s0, s1, s2), (t0, t1, t2) = source, target
        different, same = t0[..., :, None] + s0[..., None, :], t1[..., :, None] + s1[..., None, :]
        intra = torch.where(self.same[:, None], same, different)
        return EdgeValues((intra, t2[:, :, None] + s2[:, None, :]))

    def sums(self, source: Tensor, target: Tensor) -> EdgeValues:
        return EdgeValues((target[..., :, None] + source[..., None, :], target[:, :, None] + source[:, None]))

    def scaled(self, values: EdgeValues, norm: Tensor) -> EdgeValues:
        intra, cross = values.parts
        return EdgeValues(
            (intra * norm[..., :, None] * norm[..., None, :], cross * norm[:, :, None] * norm[:, None, :])
        )

    def masked(self, values: EdgeValues) -> EdgeValues:
        intra, cross = values.parts
        return EdgeValues((intra * self.intra[:, None], cross * self.cross))

    def outgoing(self, kept: EdgeValues) -> tuple[Tensor, Tensor]:
        intra, cross = kept.parts
        degree = intra.sum(dim=2) + cross.sum(dim=1)  # over targets -> [B, M, T]
        same = (intra & self.same[:, None]).sum()
        return degree, torch.stack([intra.sum() - same, same, cross.sum()])

    def softmax_by_source(self, logits: EdgeValues) -> EdgeValues:
        intra = logits.parts[0].masked_fill(~self.intra[:, None], -torch.inf)
        cross = logits.parts[1].masked_fill(~self.cross, -torch.inf)
        largest = torch.maximum(intra.amax(dim=2), cross.amax(dim=1))  # [B, M, T], of each source
        largest = torch.where(largest.isfinite(), largest, 0.0).detach()
        intra = torch.exp(intra - largest[:, :, None])
        cross = torch.exp(cross - largest[:, None])
        total: Tensor = intra.sum(dim=2) + cross.sum(dim=1)
        total = torch.where(total > 0, total, 1.0)  # a node without edges
        return EdgeValues((intra / total[:, :, None], cross / total[:, None]))

    def sparsemax_by_target(self, logits: EdgeValues) -> EdgeValues:
        intra = logits.parts[0].masked_fill(~self.intra[:, None], NO_EDGE)
        cross = logits.parts[1].masked_fill(~self.cross, NO_EDGE).permute(0, 1, 3, 2)  # [B, M, T, M]
        incoming = sparsemax(torch.cat([intra, cross], dim=-1))
        within, across = torch.split(incoming, [intra.shape[-1], cross.shape[-1]], dim=-1)
        return EdgeValues((within, across.permute(0, 1, 3, 2)))

    def propagate(self, x: Tensor, values: EdgeValues) -> Tensor:
        padded = self.batch.pad(x, self.modalities)  # [B, M, T, d]
        intra, cross = values.parts
        out = intra.to(x.dtype) @ padded
        if self.modalities > 1:
            out = out + torch.einsum("bmnt,bntd->bmtd", cross.to(x.dtype), padded)
        return self.batch.unpad(out)

    def similarities(self, x: Tensor, similarity: Callable[[Tensor], Tensor]) -> EdgeValues:
        unit = unit_vectors(self.batch.pad(x, self.modalities))
        with torch.autocast(x.device.type, enabled=False):  # a rounded cosine of 1 has no finite gradient
            intra = similarity(unit @ unit.transpose(-1, -2)) * self.near[:, None]
            cross = similarity(torch.einsum("bmtd,bntd->bmnt", unit, unit)) * self.cross
        degree = intra.sum(dim=3) + cross.sum(dim=2)  # over sources -> [B, M, T]
        return self.scaled(EdgeValues((intra, cross)), inverse_roots(degree))

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

    def listed_values(self, values: EdgeValues) -> Tensor:
        intra, cross = values.parts
        return torch.cat([intra[self._intra()], cross[self.cross]])

    def _intra(self) -> Tensor:
        """[B, M, T, T]: the edges within a modality, for every modality."""
        return self.intra[:, None].expand(-1, self.modalities, -1, -1)


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
