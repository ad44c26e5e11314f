"""The time that a search has used, over all its resumes."""

from __future__ import annotations

import time


class Clock:
    """Wall time of a search, and the time for which its trials held GPUs, over all resumes.

    Args:
        before: wall seconds of earlier runs.
        gpu_before: GPU seconds of earlier runs.
        share: number of GPUs that one trial holds, a fraction where trials share one.
    """

    def __init__(self, before: float = 0.0, gpu_before: float = 0.0, share: float = 0.0) -> None:
        self._before, self._start = before, time.monotonic()
        self._gpu, self._since, self._share, self._trials = gpu_before, self._start, share, 0

    def seconds(self) -> float:
        """Wall seconds so far."""
        return self._before + time.monotonic() - self._start

    def gpu_seconds(self) -> float:
        """GPU seconds so far: half a GPU for two seconds counts as one."""
        return self._gpu + self._share * self._trials * (time.monotonic() - self._since)

    def running(self, trials: int) -> None:
        """From now on, so many trials hold their share of a GPU."""
        self._gpu, self._since, self._trials = self.gpu_seconds(), time.monotonic(), trials
