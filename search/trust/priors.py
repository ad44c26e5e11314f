"""Class frequencies of train and dev: how far they are apart, and whether that is more than chance.

Labels of test are not read: before it is opened nobody knows its frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rigsl.data.corpus import Corpus

Floats = NDArray[np.float64]
#: Draws of dialogues of train, each of the size of dev.
DRAWS = 1000


@dataclass(frozen=True)
class PriorShift:
    """How the class frequencies of dev differ from those of train."""

    train: tuple[float, ...]  #: share of each class
    dev: tuple[float, ...]
    distance: float  #: total variation: the share of the utterances that would have to change their class
    chance: float  #: 95 % of parts of train with as many dialogues as dev are nearer to train than this
    largest: str  #: the class whose share differs most

    @property
    def beyond_chance(self) -> bool:
        """Whether dev is no random part of dialogues such as those of train."""
        return self.distance > self.chance


def prior_shift(corpus: Corpus) -> PriorShift:
    """The shift between train and dev."""
    train, dev = (_counts(corpus, split) for split in ("train", "dev"))  # [dialogues, classes]
    shares, other = _shares(train.sum(axis=0)), _shares(dev.sum(axis=0))
    drawn = np.random.default_rng(0).integers(len(train), size=(DRAWS, len(dev)))
    distances = _distance(_shares(train[drawn].sum(axis=1)), shares)
    return PriorShift(
        train=tuple(shares.tolist()),
        dev=tuple(other.tolist()),
        distance=float(_distance(other, shares)),
        chance=float(np.quantile(distances, 0.95)),
        largest=corpus.classes[int(np.abs(other - shares).argmax())],
    )


def _counts(corpus: Corpus, split: str) -> NDArray[np.int64]:
    """Utterances of each class in each dialogue of a split. [dialogues, classes]"""
    dialogues = corpus.dialogues(split)
    dialogue = np.repeat(np.arange(len(dialogues)), corpus.lengths[dialogues])
    counts = np.zeros((len(dialogues), len(corpus.classes)), dtype=np.int64)
    np.add.at(counts, (dialogue, corpus.labels[corpus.rows(dialogues)]), 1)
    return counts


def _shares(counts: NDArray[np.int64]) -> Floats:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True), dtype=np.float64)


def _distance(left: Floats, right: Floats) -> Floats:
    """Total variation distance. [..., k], [k] -> [...]"""
    return np.asarray(np.abs(left - right).sum(axis=-1) / 2)
