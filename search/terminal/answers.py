"""The answers of a study on test as lines for the terminal, one for each, aligned."""

from __future__ import annotations

from collections.abc import Sequence

from rigsl.wording import p_value, points
from search.confirm.answers import Answer
from search.report.format import span, spread


def score_lines(answers: Sequence[Answer]) -> list[str]:
    """Name, weighted F1 on test with its interval, and the difference to the baseline in the same form."""
    return _aligned(
        [
            (
                answer.name,
                spread(answer.winner.weighted_f1),
                span(answer.winner.interval),
                _difference(answer),
            )
            for answer in answers
        ]
    )


def difference_lines(answers: Sequence[Answer]) -> list[str]:
    """Name, winner minus baseline in the same form on test, interval and p of the paired bootstrap.

    An answer without a baseline has no line.
    """
    rows = []
    for answer in answers:
        if answer.difference is None:
            continue
        bootstrap, basis = answer.bootstrap, ""
        if bootstrap is not None:
            interval = bootstrap.interval
            bounds = span(interval, signed=True)
            basis = f"({100 * interval.level:.0f} % interval {bounds}; {p_value(bootstrap.p)})"
        rows.append((answer.name, points(answer.difference), basis))
    return _aligned(rows)


def _difference(answer: Answer) -> str:
    if answer.difference is None:
        return ""
    p = "" if answer.bootstrap is None else f", {p_value(answer.bootstrap.p)}"
    return f"{points(answer.difference)} on the baseline{p}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows with columns of equal width; the first is aligned to the left, scores to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
