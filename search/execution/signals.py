"""The first Ctrl-C or SIGTERM ends a search in good order; the second one ends it at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalWatch:
    """Remembers the first signal, so that the search can stop where nothing is lost."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}  #: signal -> handler of the calling program

    @property
    def interrupted(self) -> bool:
        """Whether the user wants to stop."""
        return self.signal is not None

    def __enter__(self) -> SignalWatch:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self._install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Take the signals back from Ray, which sets its own handler for SIGTERM when it starts."""
        if self._before:
            self._install()
        yield

    def _install(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
