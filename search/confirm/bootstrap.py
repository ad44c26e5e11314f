"""Bootstrap intervals of weighted F1, and the paired bootstrap of two configurations.

Dialogues are resampled, not utterances, since the utterances of a dialogue are predicted together; and
trainings (seeds), where there are several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rigsl.training.scores import weighted_f1
from search.confirm.predictions import Floats, Integers, SeedRuns, check_paired, dialogue_confusions

LEVEL = 0.95  #: confidence level of all intervals
RESAMPLES = 10_000
_BATCH = 2_000  #: resamples at a time: bounds the memory
_TOLERANCE = 1e-12  #: less than any difference of two scores that are not equal


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval of a score or of a difference of scores."""

    value: float  #: as measured
    low: float
    high: float
    standard_error: float
    resampled: tuple[str, ...]  #: what was drawn with replacement: "dialogues", "seeds"
    resamples: int = RESAMPLES
    level: float = LEVEL


def f1_interval(runs: SeedRuns, seed: int = 0, resamples: int = RESAMPLES) -> Interval | None:
    """Interval of the mean weighted F1 of the trainings; None for a single dialogue, which has no spread.

    Dialogues are drawn with replacement, the same ones for all trainings, and so are trainings, where there
    are several: this stands for another test set and other seeds. With few seeds m, their part of the spread
    is too small by a factor of sqrt((m - 1) / m).
    """
    result = _bootstrap([runs], lambda means: means[0], seed, resamples)
    return None if result is None else result[0]


@dataclass(frozen=True)
class Difference:
    """Mean weighted F1 of the winner minus that of the baseline."""

    interval: Interval
    p: float  #: two-sided


def f1_difference(
    winner: SeedRuns, baseline: SeedRuns, seed: int = 0, resamples: int = RESAMPLES
) -> Difference | None:
    """Paired bootstrap of winner against baseline; None for a single dialogue.

    Both are scored on the same drawn dialogues. Their trainings are drawn independently, since a common seed
    does not make the trainings of two configurations alike. p is twice the smaller share of resamples on
    either side of 0, with one more counted on either side (Davison and Hinkley, Bootstrap Methods and their
    Application, 1997, chapter 4), so that it agrees with the interval. For a measured difference of
    0, p = 1.

    Raises:
        ValueError: they were not tested on the same utterances.
    """
    check_paired(winner, baseline)
    result = _bootstrap([winner, baseline], lambda means: means[0] - means[1], seed, resamples)
    if result is None:
        return None
    interval, differences = result
    # Means of equal scores may differ in their last bit.
    counts = [int((differences < _TOLERANCE).sum()), int((differences > -_TOLERANCE).sum())]
    p = min(1.0, 2.0 * (min(counts) + 1) / (len(differences) + 1))
    return Difference(interval, 1.0 if abs(interval.value) < _TOLERANCE else p)


def _bootstrap(sides: Sequence[SeedRuns], statistic: Any, seed: int, resamples: int) -> Any:
    """Interval and bootstrap distribution of `statistic`, a function of every side's mean weighted F1.

    None for a single dialogue.
    """
    from scipy import stats  # only where it is used: a search starts fast

    n = len(sides[0].offsets) - 1
    if n < 2:
        return None
    tables = [dialogue_confusions(runs) for runs in sides]
    with_seeds = [i for i, runs in enumerate(sides) if len(runs.seeds) > 1]

    def resampled_statistic(dialogues: Integers, *seeds: Integers, axis: int = -1) -> Floats:
        drawn = dict(zip(with_seeds, seeds, strict=True))
        means = []
        for i, table in enumerate(tables):
            scores = resampled_f1(table, dialogues)  # [resamples, m]
            means.append(
                np.take_along_axis(scores, drawn[i], axis).mean(axis) if i in drawn else scores[..., 0]
            )
        return np.asarray(statistic(means))

    data = (np.arange(n), *(np.arange(len(sides[i].seeds)) for i in with_seeds))
    result = stats.bootstrap(
        data,
        resampled_statistic,
        n_resamples=resamples,
        batch=_BATCH,
        vectorized=True,
        axis=-1,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    measured = [weighted_f1(table.sum(axis=1)).mean() for table in tables]
    interval = Interval(
        value=float(statistic(measured)),
        low=float(result.confidence_interval.low),
        high=float(result.confidence_interval.high),
        standard_error=float(result.standard_error),
        resampled=("dialogues", "seeds") if with_seeds else ("dialogues",),
        resamples=resamples,
    )
    return interval, result.bootstrap_distribution


def resampled_f1(tables: Integers, dialogues: Integers) -> Floats:
    """Weighted F1 of every training on drawn dialogues. Shapes: [m, n, k, k], [..., drawn] -> [..., m]

    The confusion matrix of a draw is the sum of those of its dialogues, each as often as it was drawn.
    """
    m, n, k = tables.shape[:3]
    draws = dialogues.reshape(-1, dialogues.shape[-1])  # [resamples, drawn]
    flat = draws + n * np.arange(len(draws))[:, None]
    times = np.bincount(flat.ravel(), minlength=n * len(draws)).reshape(-1, n)  # [resamples, n]
    cells = tables.transpose(1, 0, 2, 3).reshape(n, -1).astype(np.float64)  # [n, m * k * k]
    summed = (times.astype(np.float64) @ cells).reshape(*dialogues.shape[:-1], m, k, k)
    return weighted_f1(summed)
