"""Ways of fine-tuning, compared out of fold on train."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from benchmarks.features import encoders
from benchmarks.features.constructions import ON_FOLDS, OUT_OF_FOLD, Setup
from benchmarks.features.cuts import TRAIN, Cut
from benchmarks.features.encoders import Encoder, without
from benchmarks.features.learners import logistic_regression
from rigsl.data.corpus import Corpus
from rigsl.data.open.cross_fitting import fold_of_dialogues
from rigsl.data.open.meld import Transcript
from rigsl.data.open.settings import FineTuning

DEFAULT = FineTuning()
OPTIONS = {
    "default": DEFAULT,
    "another seed": dataclasses.replace(DEFAULT, seed=100),
    **{f"{count} epochs": dataclasses.replace(DEFAULT, epochs=count) for count in (2, 4, 5)},
    **{f"rank {rank}": dataclasses.replace(DEFAULT, rank=rank) for rank in (4, 64)},
    **{f"learning rate {lr:g}": dataclasses.replace(DEFAULT, lr=lr) for lr in (5e-4, 2e-3)},
    "batches of 64": dataclasses.replace(DEFAULT, batch_size=64),
    "class weights, square root": dataclasses.replace(DEFAULT, balance=0.5),
    "1 preceding utterance": dataclasses.replace(DEFAULT, context=1),
    "3 preceding utterances": dataclasses.replace(DEFAULT, context=3),
    "10 folds": dataclasses.replace(DEFAULT, folds=10),
}


def whole_train(transcript: Transcript, settings: FineTuning) -> Cut:
    """All of train, in the folds of the bundled corpus."""
    [folds] = fold_of_dialogues(transcript, dataclasses.replace(settings, seed=0, repeats=1))
    rows = np.repeat(folds, np.diff(transcript.offsets))
    return Cut(np.full(len(rows), TRAIN), rows)


def needed_encoders(transcript: Transcript) -> list[Encoder]:
    """All encoders of all options."""
    return [
        without(whole_train(transcript, settings), settings, fold)
        for settings in OPTIONS.values()
        for fold in range(settings.folds)
    ]


def out_of_fold(
    transcript: Transcript, corpus: Corpus, folder: Path
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Option -> its out-of-fold log-probabilities [U, classes], and a logistic regression's classes [U]."""
    return {
        name: _columns_and_classes(whole_train(transcript, settings), settings, corpus, folder)
        for name, settings in OPTIONS.items()
    }


def _columns_and_classes(
    cut: Cut, settings: FineTuning, corpus: Corpus, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    columns = np.empty((len(cut.fold), len(corpus.classes)))
    for fold in range(settings.folds):
        rows = cut.fold == fold
        columns[rows] = encoders.read(folder, without(cut, settings, fold))[rows]
    classes = np.empty(len(cut.fold), dtype=np.int64)
    for fold in range(settings.folds):
        held = cut.fold == fold
        setup = Setup(0, OUT_OF_FOLD, ON_FOLDS, fold, columns, ~held, held)
        classes[held] = logistic_regression(setup, held, corpus)[held]
    return columns, classes
