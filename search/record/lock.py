"""One process a study: a lock that ends with the process that took it, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rigsl.errors import UserError

#: A record lock belongs to a process: its threads exclude each other by these, one for every lock file.
_THREADS: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


@contextlib.contextmanager
def held(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Hold the lock file `path` for the block: wait for it, or be refused at once, saying `refusal`.

    A POSIX record lock, as `fork` does not hand it on: children of a killed process hold nothing, even
    those that were never to reach their `exec`. (`flock` is theirs, too, until the last of them is gone.)

    Raises:
        UserError: another process or thread holds the lock, and `refusal` is given.
    """
    threads = _THREADS[path.resolve()]
    if not threads.acquire(blocking=refusal is None):
        raise UserError(f"{refusal} (process {os.getpid()})")
    try:
        with path.open("a+", encoding="utf-8") as file:
            _take(file, refusal)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield
    finally:
        threads.release()


def _take(file: TextIO, refusal: str | None) -> None:
    """Lock the whole of `file`: wait, or be refused."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX if refusal is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # either says that it is taken (POSIX)
        file.seek(0)
        raise UserError(f"{refusal} (process {file.read().strip() or 'unknown'})") from None


def holder(path: Path) -> str | None:
    """The number of the process that holds the lock file `path`; None: nobody does."""
    if _THREADS[path.resolve()].locked():  # this one: to close the file anywhere would drop the lock
        return str(os.getpid())
    if not path.is_file():
        return None
    with path.open("r", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return file.read().strip() or "unknown"
    return None
