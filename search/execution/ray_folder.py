"""The folder of a private Ray instance: closed to other users; removed with its search, or by a later one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rigsl.errors import UserError
from rigsl.files import cannot_write
from search.resources.cluster import PRIVATE

#: Longest name of a place for temporary files, in bytes: paths of sockets, at most 107, begin with it.
_MAX_PLACE = 26
#: Places to use where the name of the chosen one is longer.
_SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")
#: In the folder: held locked (flock) by the search; its content is the kernel on which that search runs.
_OWNER = "owner"
#: In the folder: what Ray writes.
_RAY = "r"


@contextlib.contextmanager
def ray_folder() -> Iterator[str]:
    """A path for Ray's sockets and logs; what is there at the end of the block is removed.

    Ray opens its folder to all users of the machine (mode 0777), so it lies in one that is not.

    Raises:
        UserError: there is no place for it.
    """
    place = _place()
    _remove_dead(place)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PRIVATE, dir=place))  # mode 0700
    except OSError as error:
        raise cannot_write(place / PRIVATE, error) from None
    try:
        with (folder / _OWNER).open("w", encoding="utf-8") as owner:
            with contextlib.suppress(OSError):  # a file system without locks: then nobody may remove it
                fcntl.flock(owner, fcntl.LOCK_EX)
                owner.write(_kernel())
                owner.flush()
            yield str(folder / _RAY)
    finally:
        _remove(folder)


def _place() -> Path:
    """The folder for temporary files, or a usual one where its name is too long."""
    try:
        chosen = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(f"TMPDIR: no folder for temporary files can be written ({error})") from None
    for name in (chosen, *_SHORT_PLACES):
        if len(os.fsencode(name)) <= _MAX_PLACE and os.access(name, os.W_OK | os.X_OK):
            return Path(name)
    raise UserError(
        f"TMPDIR={chosen}: is too long for the paths of Ray's sockets; set it to a folder with a name of at "
        f"most {_MAX_PLACE} bytes"
    )


def _remove_dead(place: Path) -> None:
    """Remove the folders of this user's killed searches.

    Other machines and containers may share `place`. A search is certainly dead only if it ran on this kernel
    and its lock is free: the kernel frees a lock with the last process that holds it, and sees those of all
    containers. Process ids say nothing: containers number their processes each for itself.
    """
    for folder in place.glob(f"{PRIVATE}*"):
        with contextlib.suppress(OSError):  # locked, or removed by another search meanwhile
            if folder.lstat().st_uid != os.getuid():
                continue
            with (folder / _OWNER).open("r+", encoding="utf-8") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (kernel := _kernel()) and owner.read() == kernel:
                    shutil.rmtree(folder, ignore_errors=True)


def _kernel() -> str:
    """The running kernel: host and boot; empty where it does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return f"{socket.gethostname()} {boot}"


def _remove(folder: Path) -> None:
    """Remove Ray's folder; its processes still write while they shut down, so try a few times."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
