"""When trials ended, in seconds of the search: pauses before a resume do not count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from optuna.trial import FrozenTrial

from search.record import times

_NEVER = datetime.max.replace(tzinfo=UTC)


def search_seconds(trials: Sequence[FrozenTrial], starts: Sequence[datetime]) -> list[float]:
    """Seconds of search until the end of each of the `trials`, which have all ended.

    A process counts from its start to the last start or end of a trial before the next process starts.

    Args:
        trials: in records of 0.1.0 their times have no zone, but are local times of the machine that ran
            the study; its zone is that of `starts`.
        starts: of the processes that ran the study, in the order of time.
    """
    zone = starts[-1].tzinfo if starts else None
    starts = [start.astimezone() if start.tzinfo is None else start for start in starts]
    ends = [times.ended_at(trial, zone) or _NEVER for trial in trials]
    moments = sorted(moment for trial in trials for moment in _moments(trial, zone))
    if not moments:
        return [0.0 for _ in trials]
    begins = sorted({min([moments[0], *starts]), *(start for start in starts if start > moments[0])})
    return [_elapsed(end, begins, moments) for end in ends]


def _moments(trial: FrozenTrial, zone: tzinfo | None) -> list[datetime]:
    moments = (times.started_at(trial, zone), times.ended_at(trial, zone))
    return [moment for moment in moments if moment is not None]


def _elapsed(end: datetime, begins: Sequence[datetime], moments: Sequence[datetime]) -> float:
    total = 0.0
    for begin, following in zip(begins, [*begins[1:], _NEVER], strict=True):
        inside = [moment for moment in moments if begin <= moment < following and moment <= end]
        if inside:
            total += (inside[-1] - begin).total_seconds()
    return total
