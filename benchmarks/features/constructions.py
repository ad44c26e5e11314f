"""Ways to make fine-tuned columns for a cut, and what a model on them is trained and validated on.

In-sample: one encoder learned from all of train, and its columns are used there as well. Out of fold: the
columns of a fold come from the encoder that learned from the other folds; models are validated on dev, or on
the same folds, where the columns of the other folds come from encoders that saw the held fold's labels.
Nested: for every held fold, the columns of the others come from encoders that saw neither their own fold nor
the held one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.features import encoders
from benchmarks.features.cuts import DEV, NO_FOLD, TRAIN, Cut
from benchmarks.features.encoders import Encoder, of_train, without
from rigsl.data.open.settings import FineTuning

IN_SAMPLE, OUT_OF_FOLD, NESTED, NONE = "in-sample", "out of fold", "nested", "none"
#: Where a model is validated.
ON_DEV, ON_FOLDS = "dev", "folds"


@dataclass(frozen=True, eq=False)
class Setup:
    """What one model is trained and validated on."""

    cut: int
    construction: str
    validation: str  #: ON_DEV or ON_FOLDS
    fold: int  #: that is held; NO_FOLD with ON_DEV
    columns: np.ndarray | None  #: float64 [U, classes]; None: no columns
    train: np.ndarray  #: bool [U]
    held: np.ndarray  #: bool [U]


def needed_encoders(cut: Cut, settings: FineTuning) -> list[Encoder]:
    """All encoders of a cut's constructions."""
    folds = range(settings.folds)
    pairs = [without(cut, settings, one, other) for one in folds for other in folds if one < other]
    return [of_train(cut, settings), *(without(cut, settings, fold) for fold in folds), *pairs]


def setups(number: int, cut: Cut, settings: FineTuning, folder: Path) -> list[Setup]:
    """All models of a cut, whose encoders are in `folder`."""

    def read(*folds: int) -> np.ndarray:
        return encoders.read(folder, without(cut, settings, *folds))

    folds = range(settings.folds)
    own = np.stack([read(fold) for fold in folds])  # [K, U, classes]
    out_of_fold = by_fold(cut, own, own.mean(axis=0))
    in_sample = encoders.read(folder, of_train(cut, settings))
    train, dev = cut.split == TRAIN, cut.split == DEV
    by_dev = {NONE: None, IN_SAMPLE: in_sample, OUT_OF_FOLD: out_of_fold}
    result = [Setup(number, name, ON_DEV, NO_FOLD, columns, train, dev) for name, columns in by_dev.items()]
    for held in folds:
        pairs = np.stack([read(fold) if fold == held else read(*sorted((held, fold))) for fold in folds])
        pairs[held] = np.delete(pairs, held, axis=0).mean(axis=0)
        by_folds = {
            NONE: None,
            IN_SAMPLE: in_sample,
            OUT_OF_FOLD: by_fold(cut, own, own[held]),
            NESTED: by_fold(cut, pairs, pairs[held]),
        }
        result += [
            Setup(number, name, ON_FOLDS, held, columns, train & (cut.fold != held), cut.fold == held)
            for name, columns in by_folds.items()
        ]
    return result


def by_fold(cut: Cut, of_folds: np.ndarray, elsewhere: np.ndarray) -> np.ndarray:
    """Rows of fold k from ``of_folds[k]``, those in no fold from `elsewhere`; [U, classes]."""
    result = elsewhere.copy()
    for fold, columns in enumerate(of_folds):
        result[cut.fold == fold] = columns[cut.fold == fold]
    return result
