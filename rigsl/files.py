"""Atomic writes with the permissions that the user wants, and content hashes of files."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Disk full, over quota, input/output error, read-only, network share away.
_STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it replaces `path` atomically if the block ends without an error.

    A new file has the permissions of the umask; one that is replaced keeps those that it has.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _unused(path)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    mode = permissions(path if path.exists() else temporary)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def new_folder(beside: Path) -> Path:
    """A new folder beside `beside`, with the permissions of the umask and a hidden name."""
    folder = _unused(beside)
    folder.mkdir()
    return folder


def permissions(path: Path) -> int:
    """The permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def _unused(path: Path) -> Path:
    """Not tempfile's: what that makes is readable by nobody else, and cannot be told what the umask says."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_storage_error(error: BaseException) -> bool:
    """Whether the storage refused a file: full, over quota, read-only, broken or out of reach.

    safetensors and PyTorch report it as errors of their own, with the system's words in them.
    """
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
        return True
    text = str(error)
    return any(os.strerror(number) in text for number in _STORAGE_ERRORS) or "PytorchStreamWriter" in text
