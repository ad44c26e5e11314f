"""The record's journal file, in which no line is ever written behind half a line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections import deque
from pathlib import Path

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock

from rigsl.files import is_storage_error

#: What file systems without symbolic links answer, such as FAT or some network shares.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def open_backend(path: Path) -> JournalFileBackend:
    """The journal file `path`, created if it does not exist.

    Raises:
        OSError: it cannot be opened.
    """
    return JournalFileBackend(str(path), JournalLock(path))


def repair(path: Path) -> None:
    """Remove what a killed process may have left: half a line at the end, and Optuna's own lock.

    Also a whole last line that says nothing: a power cut may leave its end on the disk, and zeros before.
    Optuna passes over such a line while it is the last one, and cannot read what is written behind it.

    The caller holds the study's lock. For a lock that is left, the next writer would wait 30 seconds.
    """
    if path.exists():
        drop_half_line(path)
        if not _says_something(last := _last_line(path)):
            os.truncate(path, path.stat().st_size - len(last))
    for stale_lock in path.parent.glob(path.name + ".lock*"):
        with contextlib.suppress(FileNotFoundError):
            stale_lock.unlink()


def drop_half_line(path: Path) -> None:
    """Cut off an incomplete last line, which would make every later line unreadable."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            file.seek(end - 1)
            if file.read(1) == b"\n":
                break
            end -= 1
        if end < size:
            file.truncate(end)


def _last_line(path: Path) -> bytes:
    """The last line of a file of whole lines; empty: it has none."""
    with path.open("rb") as file:
        return next(iter(deque(file, maxlen=1)), b"")


def _says_something(line: bytes) -> bool:
    """Whether a line is JSON, or nothing at all."""
    try:
        return not line or json.loads(line) is not None
    except (ValueError, RecursionError):
        return False


class JournalLock(JournalFileSymlinkLock):
    """Optuna's lock of a journal, held while lines are written.

    A disk that is full for a moment leaves half a line, behind which Optuna would write the next one. So it
    is cut off before anything is written. Needs no symbolic links, and does not hide why it cannot be
    released: a folder that has become read-only.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock and take it.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            super().acquire()
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            JournalFileOpenLock(str(self._path)).acquire()  # a file of the same name
        try:
            drop_half_line(self._path)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Give the lock back.

        Raises:
            OSError: the folder cannot be written, or is or was away.
            RuntimeError: somebody else has taken it.
        """
        try:
            super().release()
        except RuntimeError as error:
            reason = error.__context__
            taken = self._path.exists() and not os.path.lexists(self._lock_file)
            if isinstance(reason, OSError) and (is_storage_error(reason) or not taken):
                raise reason from None
            raise
