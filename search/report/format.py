"""Scores, intervals and hyperparameter values as text."""

from __future__ import annotations

from typing import Any, Protocol

from rigsl.wording import DASH, plus_minus, points
from search.confirm.bootstrap import Interval


class MeanAndStd(Protocol):
    """Scores of several trainings: `Summary` and `PaperScores` are."""

    @property
    def mean(self) -> float:
        """Their mean, a fraction."""

    @property
    def std(self) -> float | None:
        """Their standard deviation; None: there is only one."""


def spread(scores: MeanAndStd | None) -> str:
    """Mean and standard deviation: ``59.61 ± 0.42 %``, without the deviation if it is not known."""
    return DASH if scores is None else plus_minus(scores.mean, scores.std)


def span(interval: Interval | None, *, signed: bool = False) -> str:
    """The bounds of an interval of fractions: ``57.52 to 61.60 %``; if `signed`, in points with signs."""
    if interval is None:
        return DASH
    low, high = interval.low, interval.high
    if signed:
        return f"{points(low)} to {points(high)}"
    return f"{100 * low:.2f} to {100 * high:.2f} %"


def value_text(value: Any) -> str:
    """The value of a hyperparameter."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
