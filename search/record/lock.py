"""At most one process per study: a file lock, released when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rigsl.errors import UserError

#: A POSIX lock belongs to a whole process; these exclude its threads from each other, one per lock file.
_THREADS: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
#: What a file system answers that has no locks: NFS without a lock daemon, Lustre without ``flock``.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
#: Linux's ``struct flock``: type, whence, start, length, process.
_FLOCK = "hhqqi4x"


@contextlib.contextmanager
def hold(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Hold the lock file `path` in a ``with`` block; wait for it, or with a `refusal` fail at once.

    A POSIX record lock, because children do not inherit it through `fork`: after a kill, children that are
    still alive do not keep the study locked. (An `flock` stays until the last of them has ended.)

    Raises:
        UserError: another process or thread holds the lock, and `refusal` is given; that is its sentence. Or
            the file system has no locks.
    """
    thread_lock = _THREADS[path.resolve()]
    if not thread_lock.acquire(blocking=refusal is None):
        raise UserError(f"{refusal} (process {_this_process()})")
    try:
        with path.open("a+", encoding="utf-8") as file:
            _take(file, refusal)
            with contextlib.suppress(OSError):  # the name is for messages; a full disk may lack it
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), _this_process().encode())
            yield
    finally:
        thread_lock.release()


def _take(file: TextIO, refusal: str | None) -> None:
    """Lock all of `file`: wait, or raise where there is a `refusal`."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX if refusal is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX: either means that it is taken
        file.seek(0)
        raise UserError(f"{refusal} (process {file.read().strip() or 'unknown'})") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"{Path(file.name).parent}: its file system cannot lock files ({error.strerror}), so that two "
            "processes could write to one study; take a folder on another file system, or have this one "
            "mounted with locks (NFS: with its lock daemon; Lustre: with -o flock)"
        ) from None


def _this_process() -> str:
    """Its id says nothing on another machine, or in another container, that shares the folder."""
    return f"{os.getpid()} on {socket.gethostname()}"


def holder(path: Path) -> str | None:
    """The process that holds the lock file `path`: its id and its host; None: none, as far as is known.

    It only asks. A lock that was taken to see whether that succeeds could refuse a search that starts now.
    """
    if _THREADS[path.resolve()].locked():  # this process; closing the file anywhere in it drops the lock
        return _this_process()
    if not path.is_file():
        return None
    with path.open("r", encoding="utf-8") as file:
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return None
        return None if answer[0] == fcntl.F_UNLCK else file.read().strip() or "unknown"
