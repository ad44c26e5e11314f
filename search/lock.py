"""One process a study: a lock that the system drops when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from rigsl.errors import UserError


@contextlib.contextmanager
def held(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Hold the lock file `path` for the block: wait for it, or be refused at once, saying `refusal`.

    Raises:
        UserError: another process holds the lock, and `refusal` is given.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            file.seek(0)
            raise UserError(f"{refusal} (process {file.read().strip() or 'unknown'})") from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


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
