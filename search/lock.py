"""One process a study: a lock that the system drops when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import psutil

from rigsl.errors import UserError

#: Seconds that the children of a killed process may take to go down.
ORPHANS = 90.0


@contextlib.contextmanager
def held(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Hold the lock file `path` for the block: wait for it, or be refused at once, saying `refusal`.

    Raises:
        UserError: another process holds the lock, and `refusal` is given.
    """
    with path.open("a+", encoding="utf-8") as file:
        if refusal is None:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            _take(file, refusal)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(file: TextIO, refusal: str) -> None:
    """Lock `file` or be refused; children of a killed process may hold its lock for a moment more."""
    end = time.monotonic() + ORPHANS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            number = file.read().strip()
            alive = not number.isdigit() or psutil.pid_exists(int(number))
            if alive or time.monotonic() > end:
                raise UserError(f"{refusal} (process {number or 'unknown'})") from None
        time.sleep(0.2)


def holder(path: Path) -> str | None:
    """The number of the process that holds the lock file `path`; None: nobody does."""
    if not path.is_file():
        return None
    with path.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None
