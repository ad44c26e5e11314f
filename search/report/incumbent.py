"""The best score so far (the incumbent's) over the trials and the time of a search."""

from __future__ import annotations

from dataclasses import dataclass

from search.record import record
from search.record.states import state_name
from search.report.clock import search_seconds
from search.report.data import StudyData


@dataclass(frozen=True)
class IncumbentPoint:
    """A trial that ended with a score, and the best score of all trials that had ended by then."""

    number: int
    hours: float  #: of search until its end
    score: float
    state: str  #: complete or pruned
    best: float


def incumbent_curve(data: StudyData) -> list[IncumbentPoint]:
    """The trials with a score in the order of their end."""
    trials = record.scored(data.study)
    seconds = search_seconds(trials, data.starts())
    curve: list[IncumbentPoint] = []
    for trial, elapsed in zip(trials, seconds, strict=True):
        score = record.score(trial) or 0.0
        best = max(score, curve[-1].best if curve else score)
        curve.append(IncumbentPoint(trial.number, elapsed / 3600, score, state_name(trial), best))
    return curve
