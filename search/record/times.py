"""When the trials of a record began and ended: in UTC, and in the order in which the study saw them end.

Optuna stores local times without a zone: after a clock or daylight-saving step they go backwards, and another
machine reads them as times of its own zone. Records of 0.1.0 have nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

from optuna.trial import FrozenTrial

#: User attribute of a trial: its position in the order of ends.
ENDED = "ended"
#: User attributes of a trial: seconds since 1970. A study that has ended has the latter, too.
STARTED_AT, ENDED_AT = "started_at", "ended_at"


def now() -> float:
    """Seconds since 1970, as the record keeps them."""
    return round(time.time(), 3)


def in_order_of_end(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Those of `trials` that have ended, in the order of their end.

    Those without a position ended before all others, when an earlier version ran the study.
    """

    def key(trial: FrozenTrial) -> tuple[int, datetime, int]:
        position = trial.user_attrs.get(ENDED)
        if position is not None:
            return int(position), datetime.max, trial.number
        return 0, trial.datetime_complete or datetime.max, trial.number

    return sorted((trial for trial in trials if trial.state.is_finished()), key=key)


def last_position(trials: Iterable[FrozenTrial]) -> int:
    """The highest position in the order of ends so far; 0: none has one."""
    return max((int(trial.user_attrs.get(ENDED, 0)) for trial in trials), default=0)


def started_at(trial: FrozenTrial, zone: tzinfo | None = None) -> datetime | None:
    """When `trial` began, with a zone; `zone`: of the times of earlier versions, None: this machine's."""
    return _moment(trial.user_attrs.get(STARTED_AT), trial.datetime_start, zone)


def ended_at(trial: FrozenTrial, zone: tzinfo | None = None) -> datetime | None:
    """When `trial` ended, with a zone, like `started_at`; None: it has not ended."""
    if not trial.state.is_finished():
        return None
    return _moment(trial.user_attrs.get(ENDED_AT), trial.datetime_complete, zone)


def _moment(stamp: float | None, local: datetime | None, zone: tzinfo | None) -> datetime | None:
    if stamp is not None:
        return datetime.fromtimestamp(stamp, UTC)
    if local is None:
        return None
    return local.astimezone() if zone is None else local.replace(tzinfo=zone)
