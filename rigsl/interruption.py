"""SIGTERM and SIGHUP end a command as Ctrl-C does: nothing half done is left, and the exit code says it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Interrupted`, unless they are ignored, as SIGHUP is under nohup."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {number: handler for number, handler in before.items() if handler is signal.SIG_DFL}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def exit_code(error: KeyboardInterrupt) -> int:
    """The exit code of a command that a signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)


def interruption_line(error: KeyboardInterrupt) -> str:
    """What a command line prints of its interruption: the notes of `error` say how to go on."""
    return "; ".join(["interrupted", *getattr(error, "__notes__", ())])


@contextlib.contextmanager
def going_on(advice: str) -> Iterator[None]:
    """Inside, an interruption says how to go on after it."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(advice)
        raise
