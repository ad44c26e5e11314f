"""What the memory estimate needs to know about a corpus: its widths and its largest batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from rigsl.data.batches import shuffled_batches
from rigsl.data.corpus import Corpus, Schema

#: Epochs whose batches are drawn to find the largest batch of a training.
DRAWN_EPOCHS = 8

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class BatchShape:
    """dialogues: number of dialogues; longest: utterances of the longest one; utterances: of all of them;
    speakers: sum of the dialogues' numbers of speakers; previous: utterances of an average batch, for the
    batch before, whose tensors are still alive."""

    dialogues: int
    longest: int
    utterances: int
    speakers: int
    previous: float


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of a training on a corpus, for any number of estimates.

    features: bytes of each modality's features in the corpus; lengths, speakers: utterances and speakers of
    every training dialogue [n]; validation_lengths, validation_speakers: of every validation dialogue [m].
    """

    schema: Schema
    features: dict[str, int]
    lengths: Indices
    speakers: Indices
    validation_lengths: Indices
    validation_speakers: Indices
    _drawn: dict[int, tuple[BatchShape, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, corpus: Corpus, *, train: Sequence[str] = ("train",), validation: str = "dev") -> Shapes:
        """The shapes of a training on these splits.

        Raises:
            UserError: there is no such split.
        """
        training = np.concatenate([corpus.dialogues(split) for split in train])
        validating = corpus.dialogues(validation)
        parts = np.split(corpus.speakers, corpus.offsets[1:-1])
        speakers = np.array([len(np.unique(part)) for part in parts])
        return cls(
            corpus.schema,
            {letter: int(values.nbytes) for letter, values in corpus.features.items()},
            corpus.lengths[training],
            speakers[training],
            corpus.lengths[validating],
            speakers[validating],
        )

    def training_batches(self, batch_size: int) -> tuple[BatchShape, ...]:
        """The largest batches of some epochs; drawn once for each size (milliseconds), then cached."""
        if batch_size not in self._drawn:
            generator = torch.Generator().manual_seed(0)
            dialogues = np.arange(len(self.lengths))
            batches = [
                batch
                for _ in range(DRAWN_EPOCHS)
                for batch in shuffled_batches(self.lengths, dialogues, batch_size, generator)
            ]
            self._drawn[batch_size] = _largest(self.lengths, self.speakers, batches)
        return self._drawn[batch_size]

    def validation_batches(self, batch_size: int, *, by_length: bool) -> tuple[BatchShape, ...]:
        """The largest batches of a validation; `by_length`: whether dialogues are sorted by length."""
        lengths = self.validation_lengths
        order = np.argsort(lengths, kind="stable") if by_length else np.arange(len(lengths))
        parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        return _largest(lengths, self.validation_speakers, parts)


def _largest(lengths: Indices, speakers: Indices, batches: Sequence[Indices]) -> tuple[BatchShape, ...]:
    """The batches with the most pairs, the most padded nodes, and the most utterances."""
    sizes = [
        (len(batch), int(lengths[batch].max()), int(lengths[batch].sum()), int(speakers[batch].sum()))
        for batch in batches
    ]
    average = sum(utterances for _, _, utterances, _ in sizes) / len(sizes) if len(sizes) > 1 else 0.0
    largest = {
        max(sizes, key=lambda size: size[0] * size[1] ** 2),
        max(sizes, key=lambda size: size[0] * size[1]),
        max(sizes, key=lambda size: size[2]),
    }
    return tuple(BatchShape(*size, previous=average) for size in sorted(largest))
