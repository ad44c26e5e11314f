"""How texts for people write numbers and nouns."""

from __future__ import annotations

from collections.abc import Sequence

MINUS, DASH = "\u2212", "\u2013"  #: a minus sign; a dash for what is not known


def counted(number: float, noun: str) -> str:
    """``1 trial``, ``2 trials``, ``0.5 hours``; for nouns whose plural ends in s."""
    text = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{text} {noun}{'' if number == 1 else 's'}"


def percent(value: float | None) -> str:
    """A fraction: ``59.61 %``; a dash for what is not known."""
    return DASH if value is None else f"{100 * value:.2f} %"


def points(value: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return DASH if value is None else f"{100 * value:+.2f}".replace("-", MINUS)


def p_value(p: float) -> str:
    """``p = 0.010``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def listed(names: Sequence[str], limit: int = 0) -> str:
    """``a, b and c``; of more than `limit` names the first ones and how many there are besides."""
    if limit and len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
