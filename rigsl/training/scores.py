"""The scores of predictions: weighted F1 first, as in the literature on MELD and IEMOCAP.

Computed from the confusion matrix, with the results of scikit-learn; without importing it a worker starts a
second sooner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Fractions in [0, 1], and the mean loss per utterance."""

    weighted_f1: float
    macro_f1: float
    accuracy: float
    loss: float


def scores(log_prob: NDArray[np.float32], labels: Integers, loss: float) -> Scores:
    """Scores of predictions; NaN where a label is hidden. Shapes: log_prob [U, classes], labels [U]"""
    if (labels < 0).any():
        return Scores(math.nan, math.nan, math.nan, loss)
    counts = confusion_matrix(labels, log_prob.argmax(axis=1), log_prob.shape[1])
    return Scores(float(weighted_f1(counts)), macro_f1(counts), accuracy(counts), loss)


def confusion_matrix(labels: Integers, predicted: Integers, classes: int) -> Integers:
    """Number of utterances by [true class, predicted class]. Shapes: [U], [U] -> [classes, classes]"""
    flat = np.bincount(labels * classes + predicted, minlength=classes**2)
    return flat.reshape(classes, classes)


def f1(counts: NDArray[Any]) -> Floats:
    """F1 of each class, NaN if it neither occurs nor is predicted. Shapes: [..., k, k] -> [..., k]"""
    total = counts.sum(axis=-2) + counts.sum(axis=-1)
    return 2 * np.diagonal(counts, axis1=-2, axis2=-1) / np.where(total > 0, total, np.nan)


def weighted_f1(counts: NDArray[Any]) -> Floats:
    """Mean F1 of the classes, weighted by their support. Shapes: confusion matrices [..., k, k] -> [...]"""
    support = counts.sum(axis=-1)
    per_class = np.nan_to_num(f1(counts))
    return np.asarray((per_class * support).sum(axis=-1) / support.sum(axis=-1), dtype=np.float64)


def macro_f1(counts: Integers) -> float:
    """Mean F1 of the classes that occur or are predicted."""
    return float(np.nanmean(f1(counts)))


def accuracy(counts: Integers) -> float:
    """Share of the utterances whose class is predicted correctly."""
    return float(np.trace(counts) / counts.sum())
