"""What is said of recorded predictions: of one configuration, and of a winner against a baseline.

Both answers are plain JSON. The numbers come from scipy and scikit-learn, through `seed_runs`, `bootstrap`
and `signed_rank`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.confirm.bootstrap import LEVEL, f1_difference, f1_interval
from search.confirm.predictions import SeedRuns, confusion, scores_of
from search.confirm.wilcoxon import dialogue_wilcoxon, seed_wilcoxon


@dataclass(frozen=True)
class Summary:
    """Of m numbers; what one number cannot tell is None."""

    values: tuple[float, ...]
    mean: float
    std: float | None  #: of the sample (m - 1)
    standard_error: float | None
    low: float | None  #: of the interval by Student's t
    high: float | None


def summary(values: Sequence[float]) -> Summary:
    """Mean, spread and t-interval of m numbers."""
    given = np.asarray(values, dtype=np.float64)
    mean = float(given.mean())
    if len(given) < 2:
        return Summary(tuple(given.tolist()), mean, None, None, None, None)
    from scipy import stats  # only where it is used: a search starts fast

    error = float(stats.sem(given))
    low = high = mean  # where all are equal, as t.interval knows no width of 0
    if error > 0:
        low, high = map(float, stats.t.interval(LEVEL, len(given) - 1, loc=mean, scale=error))
    return Summary(tuple(given.tolist()), mean, float(given.std(ddof=1)), error, low, high)


def describe(runs: SeedRuns, seed: int = 0) -> dict[str, Any]:
    """The scores of m trainings: each one's, their summaries, and intervals over dialogues (and seeds).

    Args:
        seed: of the resampling.
    """
    scores = scores_of(runs)
    support = np.bincount(runs.labels, minlength=len(runs.classes))
    single = {name: [run.f1[name] for run in scores] for name in runs.classes}
    return {
        "seeds": list(runs.seeds),
        "weighted_f1": _plain(summary([run.weighted_f1 for run in scores])),
        "interval": _plain(f1_interval(runs, seed)),
        "macro_f1": _plain(summary([run.macro_f1 for run in scores])),
        "accuracy": _plain(summary([run.accuracy for run in scores])),
        "f1": {name: _plain(_summary_of_known(values)) for name, values in single.items()},
        "support": dict(zip(runs.classes, support.tolist(), strict=True)),
        "confusion": confusion(runs).tolist(),
        "runs": [
            {"seed": number, **dataclasses.asdict(run), "interval": _plain(f1_interval(runs.one(i), seed))}
            for i, (number, run) in enumerate(zip(runs.seeds, scores, strict=True))
        ],
    }


def compare(winner: SeedRuns, baseline: SeedRuns, seed: int = 0) -> dict[str, Any]:
    """Winner less baseline in weighted F1, with the paired bootstrap first and Wilcoxon's tests beside it.

    Raises:
        ValueError: they were not tested on the same utterances.
    """
    return {
        "bootstrap": _plain(f1_difference(winner, baseline, seed)),
        "wilcoxon_over_dialogues": _plain(dialogue_wilcoxon(winner, baseline)),
        "wilcoxon_over_seeds": _plain(seed_wilcoxon(winner, baseline)),
    }


def _summary_of_known(values: Sequence[float | None]) -> Summary | None:
    known = [value for value in values if value is not None]
    return summary(known) if known else None


def _plain(result: Any) -> dict[str, Any] | None:
    return None if result is None else dataclasses.asdict(result)
