"""What a model is judged by: weighted F1 first, as in the literature on MELD and IEMOCAP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score


@dataclass(frozen=True)
class Scores:
    """Fractions in [0, 1], and the mean loss per utterance."""

    weighted_f1: float
    macro_f1: float
    accuracy: float
    loss: float


def scores(log_prob: NDArray[np.float32], labels: NDArray[np.int64], loss: float) -> Scores:
    """Scores of predictions. Shapes: log_prob [U, classes], labels [U]"""
    predicted = log_prob.argmax(axis=1)
    return Scores(
        weighted_f1=float(f1_score(labels, predicted, average="weighted", zero_division=0)),
        macro_f1=float(f1_score(labels, predicted, average="macro", zero_division=0)),
        accuracy=float(accuracy_score(labels, predicted)),
        loss=loss,
    )
