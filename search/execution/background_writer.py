"""Writes files in the background, so that a training does not wait for a disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Saver:
    """One thread that writes what it is given, in that order.

    A failed writing is reported by the next `submit` or `wait`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saver")
        self._jobs: dict[str, Future[None]] = {}

    def submit(self, name: str, write: Callable[[], None]) -> None:
        """Have `write` called; it takes the place of an older one of this `name` that has not begun.

        Raises:
            Exception: what an earlier writing has raised.
        """
        for known, job in list(self._jobs.items()):
            if job.done():
                del self._jobs[known]
                job.result()
        if (older := self._jobs.get(name)) is not None:
            older.cancel()
        self._jobs[name] = self._thread.submit(write)

    def busy(self, name: str) -> bool:
        """Whether the last `name` is not written yet."""
        return name in self._jobs and not self._jobs[name].done()

    def wait(self) -> None:
        """Until all is written.

        Raises:
            Exception: what a writing has raised.
        """
        jobs, self._jobs = list(self._jobs.values()), {}
        for job in jobs:
            job.result()

    def settle(self) -> None:
        """Until nothing is being written, whatever became of it."""
        with contextlib.suppress(Exception):
            self.wait()
