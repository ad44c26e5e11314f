"""When trials ended, in seconds of the search: pauses before a resume do not count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from optuna.trial import FrozenTrial


def search_seconds(trials: Sequence[FrozenTrial], starts: Sequence[datetime]) -> list[float]:
    """Seconds of search until the end of each of the `trials`, which have all ended.

    A process counts from its start to the last start or end of a trial before the next process starts.

    Args:
        trials: their times have no zone: they are local times of the machine that ran the study.
        starts: of the processes that ran the study; without a zone, too.
    """
    ends = [trial.datetime_complete or datetime.max for trial in trials]
    moments = sorted(moment for trial in trials for moment in _moments(trial))
    if not moments:
        return [0.0 for _ in trials]
    begins = sorted({min([moments[0], *starts]), *(start for start in starts if start > moments[0])})
    return [_elapsed(end, begins, moments) for end in ends]


def _moments(trial: FrozenTrial) -> list[datetime]:
    return [moment for moment in (trial.datetime_start, trial.datetime_complete) if moment is not None]


def _elapsed(end: datetime, begins: Sequence[datetime], moments: Sequence[datetime]) -> float:
    total = 0.0
    for begin, following in zip(begins, [*begins[1:], datetime.max], strict=True):
        inside = [moment for moment in moments if begin <= moment < following and moment <= end]
        if inside:
            total += (inside[-1] - begin).total_seconds()
    return total
