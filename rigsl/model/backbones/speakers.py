"""The speaker embedding that M3Net and MMGCN add to the text nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.modalities import TEXT


class TextSpeakers(nn.Module):
    """Adds the speaker's embedding to the text nodes; does nothing without text or without `use_speaker`.

    Shapes: [M * U, width] -> [M * U, width]
    """

    def __init__(self, config: RIGSLConfig, schema: Schema, width: int) -> None:
        super().__init__()
        embeds = config.use_speaker and TEXT in config.modalities
        self.row = config.modalities.index(TEXT) if embeds else 0
        self.embedding = nn.Embedding(schema.n_speakers, width) if embeds else None

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        if self.embedding is None:
            return x
        size = len(batch.speaker)
        at = self.row * size
        text = x[at : at + size] + self.embedding(batch.speaker)
        return torch.cat([x[:at], text, x[at + size :]])
