"""How the report writes its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MINUS, DASH = "\u2212", "\u2013"


def percent(value: float | None) -> str:
    """A fraction: ``59.61 %``; a dash for what is not known."""
    return DASH if value is None else f"{100 * value:.2f} %"


def spread(found: Mapping[str, Any] | None) -> str:
    """A `statistics.Summary` as ``59.61 ± 0.42 %``, without the deviation where it is not known."""
    if found is None:
        return DASH
    if found.get("std") is None:
        return percent(found["mean"])
    return f"{100 * found['mean']:.2f} ± {100 * found['std']:.2f} %"


def points(value: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return DASH if value is None else f"{100 * value:+.2f}".replace("-", MINUS)


def span(interval: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    """The bounds of an interval of fractions: ``57.52 to 61.60 %``; in points where `signed`."""
    if interval is None:
        return DASH
    low, high = interval["low"], interval["high"]
    if signed:
        return f"{points(low)} to {points(high)}"
    return f"{100 * low:.2f} to {100 * high:.2f} %"


def p_value(p: float) -> str:
    """``p = 0.010``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def value_text(value: Any) -> str:
    """A hyperparameter's value."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def listed(names: Sequence[str], most: int = 0) -> str:
    """``a, b and c``; of more than `most` names the first ones and how many there are besides."""
    if most and len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(number: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
