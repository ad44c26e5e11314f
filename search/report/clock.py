"""When a study's trials ended, in seconds of its search: the pauses before its resumes left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from optuna.trial import FrozenTrial


def search_seconds(trials: Sequence[FrozenTrial], starts: Sequence[datetime]) -> list[float]:
    """Seconds of search until the end of each of the `trials`, which have ended.

    A process lasts from its start to the last begin or end of a trial before the next one starts.

    Args:
        trials: of a record, whose times have no zone: those of the machine that ran the study.
        starts: of the processes that ran it, without a zone, too.
    """
    ends = [trial.datetime_complete or datetime.max for trial in trials]
    known = sorted(moment for trial in trials for moment in _moments(trial))
    if not known:
        return [0.0 for _ in trials]
    begins = sorted({min([known[0], *starts]), *(start for start in starts if start > known[0])})
    return [_elapsed(end, begins, known) for end in ends]


def _moments(trial: FrozenTrial) -> list[datetime]:
    return [moment for moment in (trial.datetime_start, trial.datetime_complete) if moment is not None]


def _elapsed(end: datetime, begins: Sequence[datetime], known: Sequence[datetime]) -> float:
    total = 0.0
    for begin, following in zip(begins, [*begins[1:], datetime.max], strict=True):
        inside = [moment for moment in known if begin <= moment < following and moment <= end]
        if inside:
            total += (inside[-1] - begin).total_seconds()
    return total
