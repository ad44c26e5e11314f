"""The time that a study has used, over all its resumes: for its search, and with its final stage."""

from __future__ import annotations

import time


class Clock:
    """Wall time of a search, and the time for which its trials held GPUs, over all resumes.

    Args:
        before: wall seconds of earlier searches.
        gpu_before: GPU seconds of earlier searches.
        share: number of GPUs that one trial holds, a fraction where trials share one.
        total_before: wall seconds of earlier searches and final stages; None: there was no final stage.
    """

    def __init__(
        self,
        before: float = 0.0,
        gpu_before: float = 0.0,
        share: float = 0.0,
        total_before: float | None = None,
    ) -> None:
        self._before, self._start = before, time.monotonic()
        self._total_before = before if total_before is None else total_before
        self._search_end: float | None = None
        self._gpu, self._since, self._share, self._trials = gpu_before, self._start, share, 0

    def seconds(self) -> float:
        """Wall seconds of search so far: what a time budget limits."""
        end = time.monotonic() if self._search_end is None else self._search_end
        return self._before + end - self._start

    def total_seconds(self) -> float:
        """Wall seconds of search and final stage so far."""
        return self._total_before + time.monotonic() - self._start

    def search_ended(self) -> None:
        """From now on only `total_seconds` goes on."""
        self.running(0)
        self._search_end = time.monotonic()

    def gpu_seconds(self) -> float:
        """GPU seconds so far: half a GPU for two seconds counts as one."""
        return self._gpu + self._share * self._trials * (time.monotonic() - self._since)

    def running(self, trials: int) -> None:
        """From now on, so many trials hold their share of a GPU."""
        self._gpu, self._since, self._trials = self.gpu_seconds(), time.monotonic(), trials
