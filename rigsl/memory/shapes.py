"""What the memory estimate must know of a corpus: its widths, and its fullest batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from rigsl.data.batches import shuffled_batches
from rigsl.data.corpus import Corpus, Schema

#: Epochs of batches that are drawn to find the fullest batch of a training.
DRAWN_EPOCHS = 8

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Load:
    """A batch: its dialogues, the longest one's utterances, all utterances, the speakers of its dialogues
    added up, and the utterances of an ordinary batch before it, whose tensors are still there."""

    dialogues: int
    longest: int
    utterances: int
    speakers: int
    previous: float


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of a training on a corpus, for any number of estimates.

    features: bytes of each modality's features as the corpus holds them; lengths, speakers: utterances and
    speakers of every training dialogue [n]; validation_lengths, validation_speakers: of the others [m].
    """

    schema: Schema
    features: dict[str, int]
    lengths: Indices
    speakers: Indices
    validation_lengths: Indices
    validation_speakers: Indices
    _drawn: dict[int, tuple[Load, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, corpus: Corpus, *, train: Sequence[str] = ("train",), validation: str = "dev") -> Shapes:
        """The shapes of a training on these splits.

        Raises:
            UserError: no such split.
        """
        learned = np.concatenate([corpus.dialogues(split) for split in train])
        others = corpus.dialogues(validation)
        parts = np.split(corpus.speakers, corpus.offsets[1:-1])
        speakers = np.array([len(np.unique(part)) for part in parts])
        return cls(
            corpus.schema,
            {letter: int(values.nbytes) for letter, values in corpus.features.items()},
            corpus.lengths[learned],
            speakers[learned],
            corpus.lengths[others],
            speakers[others],
        )

    def training_loads(self, batch_size: int) -> tuple[Load, ...]:
        """The fullest batches of some epochs; drawn once for each size (milliseconds), then known."""
        if batch_size not in self._drawn:
            generator = torch.Generator().manual_seed(0)
            everyone = np.arange(len(self.lengths))
            batches = [
                batch
                for _ in range(DRAWN_EPOCHS)
                for batch in shuffled_batches(self.lengths, everyone, batch_size, generator)
            ]
            self._drawn[batch_size] = _fullest(self.lengths, self.speakers, batches)
        return self._drawn[batch_size]

    def validation_loads(self, batch_size: int, *, by_length: bool) -> tuple[Load, ...]:
        """The fullest batches of a validation."""
        lengths = self.validation_lengths
        order = np.argsort(lengths, kind="stable") if by_length else np.arange(len(lengths))
        parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        return _fullest(lengths, self.validation_speakers, parts)


def _fullest(lengths: Indices, speakers: Indices, batches: Sequence[Indices]) -> tuple[Load, ...]:
    """The batches with most pairs and with most places, padding included, and with most utterances."""
    loads = [
        (len(batch), int(lengths[batch].max()), int(lengths[batch].sum()), int(speakers[batch].sum()))
        for batch in batches
    ]
    ordinary = sum(utterances for _, _, utterances, _ in loads) / len(loads) if len(loads) > 1 else 0.0
    fullest = {
        max(loads, key=lambda load: load[0] * load[1] ** 2),
        max(loads, key=lambda load: load[0] * load[1]),
        max(loads, key=lambda load: load[2]),
    }
    return tuple(Load(*load, previous=ordinary) for load in sorted(fullest))
