"""The predefined graph of a batch of dialogues, as masks instead of edge lists
(docs/model.md, sections 3 and 7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch


@dataclass(frozen=True)
class DialogueGraph:
    """Edges j -> i between the nodes (modality m, utterance t) of each dialogue, with M modalities.

    real: [B, T] true for utterances, false for padding; intra: [B, T, T] edges [i, j] within a modality (the
    same for every modality); same: [B, T, T] pairs of utterances of the same speaker; cross: [M, M] edges
    between the modalities of an utterance; lengths: [B] utterances of each dialogue; edges: [B] number of
    edges of each dialogue; by_type: [3] number of edges of the batch between different speakers, of the same
    speaker, and across modalities.
    """

    real: Tensor
    intra: Tensor
    same: Tensor
    cross: Tensor
    lengths: Tensor
    edges: Tensor
    by_type: Tensor

    @property
    def modalities(self) -> int:
        """M, the number of modalities."""
        return self.cross.shape[0]

    def indegree(self) -> Tensor:
        """Number of edges that end in a node: [B, T], the same for every modality."""
        return self.intra.sum(dim=2) + self.modalities - 1


def dialogue_graph(batch: Batch, config: RIGSLConfig) -> DialogueGraph:
    """The predefined graph: all ordered pairs of different utterances of a modality (within the windows),
    and all ordered pairs of different modalities of an utterance."""
    modalities, longest = len(config.modalities), batch.longest
    device, lengths = batch.label.device, batch.sizes
    time = torch.arange(longest, device=device)
    real = time < lengths[:, None]
    distance = time[None, :] - time[:, None]  # j - i, source minus target
    near = distance != 0
    if config.windowp >= 0:
        near = near & (distance >= -config.windowp)
    if config.windowf >= 0:
        near = near & (distance <= config.windowf)
    intra = near & real[:, :, None] & real[:, None, :]
    speaker = batch.pad(batch.speaker)[:, 0]
    cross = ~torch.eye(modalities, dtype=torch.bool, device=device)
    same = speaker[:, :, None] == speaker[:, None, :]
    crossing = lengths * modalities * (modalities - 1)
    edges = modalities * intra.sum(dim=(1, 2)) + crossing
    same_speaker = modalities * (intra & same).sum()
    by_type = torch.stack([edges.sum() - crossing.sum() - same_speaker, same_speaker, crossing.sum()])
    return DialogueGraph(real, intra, same, cross, lengths, edges, by_type)
