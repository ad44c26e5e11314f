"""How the report writes its numbers."""

from __future__ import annotations

from typing import Any, Protocol

from rigsl.wording import DASH, percent, points
from search.confirm.bootstrap import Interval


class MeanAndStd(Protocol):
    """Scores of several trainings: `Summary` and `PaperScores` are."""

    @property
    def mean(self) -> float:
        """Their mean, a fraction."""

    @property
    def std(self) -> float | None:
        """Their standard deviation; None: there is one alone."""


def spread(found: MeanAndStd | None) -> str:
    """Mean and standard deviation: ``59.61 ± 0.42 %``, without the deviation where it is not known."""
    if found is None:
        return DASH
    if found.std is None:
        return percent(found.mean)
    return f"{100 * found.mean:.2f} ± {100 * found.std:.2f} %"


def span(interval: Interval | None, *, signed: bool = False) -> str:
    """The bounds of an interval of fractions: ``57.52 to 61.60 %``; in points where `signed`."""
    if interval is None:
        return DASH
    low, high = interval.low, interval.high
    if signed:
        return f"{points(low)} to {points(high)}"
    return f"{100 * low:.2f} to {100 * high:.2f} %"


def value_text(value: Any) -> str:
    """A hyperparameter's value."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
