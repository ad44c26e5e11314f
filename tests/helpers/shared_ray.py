"""One Ray for all tests of a process that only need some Ray."""

from __future__ import annotations

import contextlib
from unittest import mock

#: Trials at a time: four cores, and two pretended GPUs with room for two trials each.
SLOTS, GPUS = 4, 2


class SharedRay:
    """A Ray that is started when a test first asks for it, and stopped for a test that must have none.

    It is started as a study starts its own, and `search.study.run` uses it and leaves it running. A test that
    asks for fewer workers than this Ray has slots gets what it asks for: the searcher counts them.
    """

    def __init__(self) -> None:
        self._running: contextlib.ExitStack | None = None

    def start(self) -> None:
        """Have a Ray running."""
        from search.execution import ray_session
        from search.resources.workers import Workers

        if self._running is None:
            workers = Workers(SLOTS, "cpu", cpus=1, gpus=GPUS / SLOTS, gpu_total=GPUS)
            self._running = contextlib.ExitStack()
            # Most tests need no process of it, so none imports PyTorch before it is needed.
            with mock.patch.object(ray_session, "PRELOADED", ()):
                self._running.enter_context(ray_session.running(workers, 10_000_000))

    def stop(self) -> None:
        """Have no Ray running."""
        if self._running is not None:
            self._running.close()
            self._running = None
