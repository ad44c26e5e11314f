"""Whether a search can be trusted, as lines for the terminal."""

from __future__ import annotations

from rigsl.wording import points
from search.confirm.final_record import FinalRecord
from search.trust.expectation import against_tested, in_words
from search.trust.path import simplest_in_words
from search.trust.trust_record import TrustRecord


def trust_lines(final: FinalRecord) -> list[str]:
    """A heading, a line for each check, and what was expected of test; empty: nothing was recorded."""
    trust = final.trust
    if trust is None:
        return []
    verdict, title = (
        max(len(text) for text in texts)
        for texts in zip(*((check.verdict, check.title) for check in trust.checks), strict=True)
    )
    lines = [f"can this search be trusted? {_passed(trust)}"]
    for check in trust.checks:
        text = "; ".join(part for part in (check.figure, check.advice) if part)
        lines.append(f"  {check.verdict.ljust(verdict)}  {check.title.ljust(title)}  {text}")
    return [*lines, expectation_line(final)]


def status_line(final: FinalRecord) -> str:
    """One line: checks that pass, what was expected of test, and what was measured; empty: not recorded."""
    return "" if final.trust is None else f"{_passed(final.trust)}; {expectation_line(final)}"


def explanation_lines(final: FinalRecord) -> list[str]:
    """What every change from the baseline to the winner gained; empty: it was not asked for."""
    explanation = final.explanation
    if explanation is None or len(explanation.steps) < 2:
        return []
    gains = [f"  {points(step.gain):>6}  {', '.join(step.changes)}" for step in explanation.steps[1:]]
    return [
        "from the baseline to the winner, in points:",
        *gains,
        simplest_in_words(explanation.simplest, len(gains)),
    ]


def expectation_line(final: FinalRecord) -> str:
    """What was expected of test before it was opened, and how far that was off."""
    trust, test = final.trust, final.test
    assert trust is not None
    if trust.expected is None:
        return f"no test score is expected: {trust.unexpected}"
    line = f"expected on test before it was opened: {in_words(trust.expected)}"
    if trust.openings:
        line = f"expected on test, which had been opened before: {in_words(trust.expected)}"
    return line if test is None else f"{line}; {against_tested(trust.expected, test.winner.weighted_f1.mean)}"


def _passed(trust: TrustRecord) -> str:
    return f"{trust.passed} of {len(trust.checks)} checks pass"
