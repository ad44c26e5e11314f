"""Numbers, nouns and lists in texts for people."""

from __future__ import annotations

from collections.abc import Sequence

#: Control characters but the ends of lines and tabs -> how they are shown: a terminal would obey them.
CONTROL = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
MINUS, DASH = "\u2212", "\u2013"  #: a minus sign; a dash for what is not known


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """``1 trial``, ``2 trials``, ``0.5 hours``; `plural` for a noun whose plural is not formed with s."""
    text = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{text} {noun}" if number == 1 else f"{text} {plural or noun + 's'}"


def listed(names: Sequence[str], limit: int = 0) -> str:
    """``a, b and c``; of more than `limit` names the first ones, and the number of the others."""
    if limit and len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def percent(value: float | None) -> str:
    """A fraction: ``59.61 %``; a dash for what is not known."""
    return DASH if value is None else f"{100 * value:.2f} %"


def plus_minus(mean: float | None, deviation: float | None) -> str:
    """Two fractions: ``59.61 ± 0.42 %``; without the deviation, or with a dash, for what is not known."""
    if mean is None or deviation is None:
        return percent(mean)
    return f"{100 * mean:.2f} ± {100 * deviation:.2f} %"


def points(value: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return DASH if value is None else f"{100 * value:+.2f}".replace("-", MINUS)


def p_value(p: float) -> str:
    """``p = 0.010``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
