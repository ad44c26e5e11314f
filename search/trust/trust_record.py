"""What ``final.json`` keeps of whether a search can be trusted. It is written before test is opened."""

from __future__ import annotations

from dataclasses import dataclass, field

PASS, WARN, UNKNOWN = "pass", "warn", "unknown"


@dataclass(frozen=True)
class Check:
    """One check: its figure, its verdict, and one sentence of advice."""

    name: str  #: key: "noise", "reliability", "left_to_win", "overtuning", "surrogate" or "prior_shift"
    title: str  #: in words
    verdict: str  #: PASS, WARN, or UNKNOWN where the study cannot know the figure
    figure: str  #: in words; empty: not known
    advice: str  #: one sentence; of an unknown figure, why it is not known


@dataclass(frozen=True)
class ExpectedScore:
    """The weighted F1 that the configuration's trainings are expected to have on test (fractions)."""

    mean: float
    low: float  #: of the 95 % interval for the mean that will be measured
    high: float
    standard_error: float
    #: what was added to or taken off the winner's mean, in the order in which it was
    corrections: dict[str, float] = field(default_factory=dict)
    #: standard error by source: the squares add up to that of `standard_error`
    errors: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CurvePoint:
    """The best finalist so far on validation, and what the finals say of it."""

    trial: int
    trials: int  #: that had ended with a score by then
    search_score: float
    final_score: float  #: shrunken mean


@dataclass(frozen=True)
class TrustRecord:
    """The checks, and what was expected of test before it was opened."""

    at: str  #: date and time, ISO 8601
    openings: int  #: of test before that, 0 in a study that was not resumed after its end
    checks: tuple[Check, ...]
    expected: ExpectedScore | None
    unexpected: str = ""  #: why nothing is expected, one sentence; empty: something is
    numbers: dict[str, float | None] = field(default_factory=dict)  #: figures of the checks (fractions)
    curve: tuple[CurvePoint, ...] = ()  #: overtuning

    @property
    def passed(self) -> int:
        """How many checks pass."""
        return sum(check.verdict == PASS for check in self.checks)
