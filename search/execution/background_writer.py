"""Writes files in a background thread, so that training does not wait for the disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWriter:
    """One thread that runs write jobs in the order in which they were submitted.

    The exception of a failed job is raised by the next `submit` or `wait`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._jobs: dict[str, Future[None]] = {}  #: name -> the newest job of that name

    def submit(self, name: str, write: Callable[[], None]) -> None:
        """Have `write` called; it replaces an older job of this `name` that has not started.

        Raises:
            Exception: what an earlier job has raised.
        """
        for finished, job in list(self._jobs.items()):
            if job.done():
                del self._jobs[finished]
                job.result()
        if (older := self._jobs.get(name)) is not None:
            older.cancel()
        self._jobs[name] = self._thread.submit(write)

    def busy(self, name: str) -> bool:
        """Whether the newest job of this `name` has not ended yet."""
        return name in self._jobs and not self._jobs[name].done()

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            Exception: what a job has raised.
        """
        jobs, self._jobs = list(self._jobs.values()), {}
        for job in jobs:
            job.result()

    def settle(self) -> None:
        """Wait until nothing is being written; errors are ignored."""
        with contextlib.suppress(Exception):
            self.wait()
