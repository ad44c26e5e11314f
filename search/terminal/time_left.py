"""When a search ends by its time limit, in words."""

from __future__ import annotations

import time

from rigsl.wording import counted
from search.space.budget import LONGEST, Budget


def ending_time(budget: Budget, used: float, scored: int) -> str:
    """``by 12:08:00``; empty without a time limit.

    A time limit that waits for trials names both of its times while it waits, and only the later one when
    the sooner one is over.

    Args:
        budget: of the study.
        used: seconds of search so far.
        scored: finished trials that have a score.
    """
    if budget.minutes is None:
        return ""
    limit = 60 * budget.minutes
    if budget.least_trials is None or scored >= budget.least_trials:
        return f"by {_clock(limit - used)}"
    later = (
        f"when {counted(budget.least_trials, 'trial')} are finished, by {_clock(LONGEST * limit - used)} at "
    )
    sooner = f"by {_clock(limit - used)}, or " if used < limit else ""
    return f"{sooner}{later}the latest"


def _clock(seconds: float) -> str:
    """The local time in so many seconds; now if they are over."""
    return time.strftime("%H:%M:%S", time.localtime(time.time() + max(0.0, seconds)))
