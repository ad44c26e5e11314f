"""Standard errors over dialogues, and scores under other class frequencies."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from rigsl.training.scores import confusion_matrix, weighted_f1
from search.trust.dialogues import f1_with_shares, standard_error


def tables(n: int, seed: int = 0) -> np.ndarray:
    """Confusion matrices of two trainings on n dialogues with three classes. [2, n, 3, 3]"""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=(n, 9))
    predicted = np.where(rng.random((2, n, 9)) < 0.6, labels, rng.integers(3, size=(2, n, 9)))
    return np.array([[confusion_matrix(labels[i], run[i], 3) for i in range(n)] for run in predicted])


def test_utterances_that_are_repeated_have_the_score_of_their_shares() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    repeats = np.array([1, 1, 1, 6, 6, 3])  # shares 3, 12, 3 of 18
    more = f1_score(labels.repeat(repeats), predicted.repeat(repeats), average="weighted")
    counts = confusion_matrix(labels, predicted, 3)
    assert f1_with_shares(counts, np.array([3, 12, 3]) / 18) == pytest.approx(more)
    same = np.bincount(labels) / len(labels)
    assert f1_with_shares(counts, same) == pytest.approx(float(weighted_f1(counts)))


def test_the_error_is_that_of_fresh_dialogues() -> None:
    fresh = [float(weighted_f1(tables(100, seed).sum(axis=1)).mean()) for seed in range(200)]
    assert standard_error(tables(100, 999)) == pytest.approx(np.std(fresh), rel=0.25)
    assert standard_error(tables(1)) is None


def test_more_dialogues_have_less_noise() -> None:
    assert standard_error(tables(400)) == pytest.approx(standard_error(tables(100)) / 2, rel=0.2)
