"""The first Ctrl-C, SIGTERM or SIGHUP ends a search in good order; the second one ends it at once."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from rigsl.interruption import Interrupted, exit_code

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: The same signal within so many seconds is no second one, unless somebody types Ctrl-C: ``timeout`` signals
#: the process and its group, a shell and the kernel both tell of a lost terminal.
REPEATED_SECONDS = 1.0


class SignalWatch:
    """Remembers the first signal, so that the search can stop where nothing is lost."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._at = 0.0  #: when it came, by the monotonic clock
        self._before: dict[int, Any] = {}  #: signal -> handler of the calling program
        self._unraisable = sys.unraisablehook

    @property
    def interrupted(self) -> bool:
        """Whether the user wants to stop."""
        return self.signal is not None

    def __enter__(self) -> SignalWatch:
        if threading.current_thread() is threading.main_thread():
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._raise_later
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            if self._before[signal.SIGHUP] is signal.SIG_IGN:  # nohup: a lost terminal ends nothing
                del self._before[signal.SIGHUP]
            self.take_back()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            sys.unraisablehook = self._unraisable

    def take_back(self) -> None:
        """Handle the signals (again).

        Ray sets handlers of its own for SIGTERM when it starts, and the default one when it stops; in C, so
        that `signal.getsignal` does not tell. Only the main thread can: another one does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._before:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._at = number, time.monotonic()
        elif not self._is_repeated(number):
            raise Interrupted(number)

    def _is_repeated(self, number: int) -> bool:
        soon = time.monotonic() < self._at + REPEATED_SECONDS
        return soon and number == self.signal and number != signal.SIGINT

    def _raise_later(self, ignored: sys.UnraisableHookArgs) -> None:
        """Handle the signal again if Python ignored its KeyboardInterrupt: in a destructor, or at a fork."""
        stop = ignored.exc_value
        if self.signal is not None and isinstance(stop, KeyboardInterrupt):
            main, number = threading.main_thread().ident, exit_code(stop) - 128
            # When this function has returned. A real signal, since only that wakes a thread that waits.
            threading.Timer(0.05, signal.pthread_kill, [main, number]).start()
        else:
            self._unraisable(ignored)
