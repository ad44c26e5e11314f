"""Where fine-tuning begins to pay: a small train, with fine-tuned columns and without.

A pseudo-test is scored by models that were trained on some of the other dialogues. Train and dev have the
shares of a corpus of its own: dev has an eighth of train's size, and its columns, as those of the
pseudo-test, are the mean of all encoders; those of train are out of fold. A smaller train of the same draw is
part of a larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.features import encoders
from benchmarks.features.constructions import NONE, ON_DEV, OUT_OF_FOLD, Setup, by_fold
from benchmarks.features.cuts import DEV, NO_FOLD, TEST, TRAIN, Cut
from benchmarks.features.encoders import Encoder, without
from rigsl.config import RIGSLConfig
from rigsl.data.folds import stratified_parts
from rigsl.data.open.meld import Transcript
from rigsl.data.open.settings import FineTuning

SIZES = (300, 600, 1200, 2400, 4800)
#: Of the encoders: fewer folds and cuts than those of a corpus, each with fewer utterances to learn from.
SETTINGS = FineTuning(folds=3, repeats=1)
#: Split of an utterance that is in no part.
_NOWHERE = -1
#: Utterances of train for each of dev.
_TRAIN_TO_DEV = 8
#: Utterances of train up to which RIGSL makes equally many steps; with more it makes all its epochs.
_EQUAL_STEPS = 2400


def samples(transcript: Transcript, cuts: Sequence[Cut], sizes: Sequence[int]) -> list[Cut]:
    """For each pseudo-test, in the order of the sizes: train and dev drawn from the rest, and folds of train.

    Args:
        transcript: training dialogues.
        cuts: their pseudo-tests are kept.
        sizes: utterances of train, at least.
    """
    dialogue = np.repeat(np.arange(len(transcript.splits)), np.diff(transcript.offsets))
    result = []
    for draw, cut in enumerate(cuts):
        rest = np.random.default_rng(draw).permutation(np.unique(dialogue[cut.split != TEST]))
        ends = np.cumsum(np.diff(transcript.offsets)[rest])
        for size in sizes:
            train = int(ends.searchsorted(size)) + 1
            dev = int(ends.searchsorted(ends[train - 1] + size / _TRAIN_TO_DEV)) + 1
            split = np.where(cut.split == TEST, TEST, _NOWHERE)
            split[np.isin(dialogue, rest[:train])] = TRAIN
            split[np.isin(dialogue, rest[train:dev])] = DEV
            rows = np.flatnonzero(split == TRAIN)
            fold = np.full(len(split), NO_FOLD)
            parts = stratified_parts(transcript.labels[rows], dialogue[rows], SETTINGS.folds, draw)
            for index, held in enumerate(parts):
                fold[rows[held]] = index
            result.append(Cut(split, fold))
    return result


def _encoder(sample: Cut, fold: int) -> Encoder:
    """The encoder that did not learn from a fold, and the utterances that it is asked about."""
    unseen = np.flatnonzero((sample.split != _NOWHERE) & ((sample.fold == NO_FOLD) | (sample.fold == fold)))
    return without(sample, SETTINGS, fold, asked=unseen)


def needed_encoders(sample: Cut) -> list[Encoder]:
    """All encoders of a sample."""
    return [_encoder(sample, fold) for fold in range(SETTINGS.folds)]


def setups(number: int, sample: Cut, folder: Path) -> list[Setup]:
    """The two models of a sample, whose encoders are in `folder`."""
    own = np.stack([encoders.read(folder, encoder) for encoder in needed_encoders(sample)])
    columns = by_fold(sample, own, own.mean(axis=0))
    train, dev = sample.split == TRAIN, sample.split == DEV
    by_dev = {NONE: None, OUT_OF_FOLD: columns}
    return [Setup(number, name, ON_DEV, NO_FOLD, made, train, dev) for name, made in by_dev.items()]


def config_of(setup: Setup, config: RIGSLConfig) -> RIGSLConfig:
    """`config` with more epochs for a small train, so that its few steps are not what limits the score."""
    return config.replace(epochs=max(config.epochs, round(config.epochs * _EQUAL_STEPS / setup.train.sum())))
