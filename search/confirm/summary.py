"""Statistics of test predictions: of one configuration, and of a winner against a baseline.

They come from scipy, through `predictions`, `bootstrap` and `wilcoxon`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.confirm.bootstrap import LEVEL, Difference, Interval, f1_difference, f1_interval
from search.confirm.predictions import SeedRuns, confusion, scores_of
from search.confirm.wilcoxon import SignedRank, dialogue_wilcoxon, seed_wilcoxon


@dataclass(frozen=True)
class Summary:
    """Mean, spread and t-interval of m numbers; a single number has no spread (None)."""

    values: tuple[float, ...]
    mean: float
    std: float | None  #: of the sample (m - 1)
    standard_error: float | None = None
    low: float | None = None  #: of the interval by Student's t
    high: float | None = None


@dataclass(frozen=True)
class SeedScores:
    """One training on test: its seed, the fields of `RunScores`, and its interval over dialogues."""

    seed: int
    weighted_f1: float
    macro_f1: float
    accuracy: float
    f1: dict[str, float | None]
    interval: Interval | None


@dataclass(frozen=True)
class TestScores:
    """Several trainings of one configuration on test: their summaries, and each training."""

    __test__ = False  # no test class, whatever pytest makes of its name

    seeds: tuple[int, ...]
    weighted_f1: Summary
    interval: Interval | None  #: of weighted F1, over dialogues and trainings; None: a single dialogue
    macro_f1: Summary
    accuracy: Summary
    f1: dict[str, Summary | None]  #: by class; None: the class neither occurs nor is predicted
    support: dict[str, int]  #: utterances of each class
    confusion: tuple[tuple[int, ...], ...]  #: confusion matrix, summed over the trainings: [true][predicted]
    runs: tuple[SeedScores, ...]


@dataclass(frozen=True)
class PairedTests:
    """Whether two configurations differ on test: paired bootstrap, and Wilcoxon's tests for comparison."""

    bootstrap: Difference | None  #: None: a single dialogue
    wilcoxon_over_dialogues: SignedRank | None
    wilcoxon_over_seeds: SignedRank | None  #: None: the seeds differ


def summary(values: Sequence[float]) -> Summary:
    """Mean, spread and t-interval of m numbers."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = float(numbers.mean())
    if len(numbers) < 2:
        return Summary(tuple(numbers.tolist()), mean, None, None, None, None)
    from scipy import stats  # only where it is used: a search starts fast

    error = float(stats.sem(numbers))
    low = high = mean  # if all numbers are equal: t.interval gives NaN for a scale of 0
    if error > 0:
        low, high = map(float, stats.t.interval(LEVEL, len(numbers) - 1, loc=mean, scale=error))
    return Summary(tuple(numbers.tolist()), mean, float(numbers.std(ddof=1)), error, low, high)


def describe(runs: SeedRuns, seed: int = 0) -> TestScores:
    """The scores of m trainings: of each one, their summaries, and intervals over dialogues (and seeds).

    Args:
        runs: their predictions.
        seed: of the resampling.
    """
    scores = scores_of(runs)
    support = np.bincount(runs.labels, minlength=len(runs.classes))
    by_class = {name: [run.f1[name] for run in scores] for name in runs.classes}
    return TestScores(
        seeds=tuple(runs.seeds),
        weighted_f1=summary([run.weighted_f1 for run in scores]),
        interval=f1_interval(runs, seed),
        macro_f1=summary([run.macro_f1 for run in scores]),
        accuracy=summary([run.accuracy for run in scores]),
        f1={name: _summary_of_known(values) for name, values in by_class.items()},
        support=dict(zip(runs.classes, support.tolist(), strict=True)),
        confusion=tuple(tuple(row) for row in confusion(runs).tolist()),
        runs=tuple(
            SeedScores(number, **vars(run), interval=f1_interval(runs.one(index), seed))
            for index, (number, run) in enumerate(zip(runs.seeds, scores, strict=True))
        ),
    )


def compare(winner: SeedRuns, baseline: SeedRuns, seed: int = 0) -> PairedTests:
    """Winner minus baseline: the paired bootstrap of weighted F1, and Wilcoxon's tests for comparison.

    Raises:
        ValueError: they were not tested on the same utterances.
    """
    return PairedTests(
        bootstrap=f1_difference(winner, baseline, seed),
        wilcoxon_over_dialogues=dialogue_wilcoxon(winner, baseline),
        wilcoxon_over_seeds=seed_wilcoxon(winner, baseline),
    )


def _summary_of_known(values: Sequence[float | None]) -> Summary | None:
    known = [value for value in values if value is not None]
    return summary(known) if known else None
