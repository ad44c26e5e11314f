"""Sampling noise of weighted F1 over dialogues, and scores under another class prior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rigsl.training.scores import weighted_f1

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
#: Draws of dialogues: the standard error is then known to some 2 %.
RESAMPLES = 1000


def f1_with_shares(counts: NDArray[np.generic], shares: Floats) -> Floats:
    """Weighted F1 if the classes had these shares of the utterances. Shapes: [..., k, k], [k] -> [...]

    The rows of the confusion matrix are rescaled: of each class, the same part is recognised. A class that
    does not occur stays without an utterance.
    """
    support = np.asarray(counts, dtype=np.float64).sum(axis=-1)  # [..., k]
    scale = np.divide(shares, support, out=np.zeros_like(support), where=support > 0)
    return weighted_f1(counts * scale[..., None])


def standard_error(
    tables: Integers, score: Callable[[Floats], Floats] = weighted_f1, resamples: int = RESAMPLES
) -> float | None:
    """Standard error of the mean score of m trainings over dialogues, by the bootstrap; None: one dialogue.

    Args:
        tables: confusion matrix of each training and dialogue. [m, n, k, k]
        score: of the confusion matrices of all trainings. [..., m, k, k] -> [..., m], or [...] if it combines
            them
        resamples: draws of n dialogues, the same ones for all trainings.
    """
    m, n, k = tables.shape[:3]
    if n < 2:
        return None
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    cells = tables.transpose(1, 0, 2, 3).reshape(n, -1).astype(np.float64)
    drawn = score((times @ cells).reshape(resamples, m, k, k)).reshape(resamples, -1)
    return float(drawn.mean(axis=1).std(ddof=1))
