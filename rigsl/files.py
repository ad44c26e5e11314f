"""Atomic writes with the permissions that the user wants, JSON files, and content hashes of files."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rigsl.errors import UserError, first_line

_Json = TypeVar("_Json", dict[str, Any], list[Any])

#: Disk full, over quota, a file above its limit, input/output error, read-only, network share away.
_STORAGE_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOTCONN,
    errno.EHOSTDOWN, errno.EREMOTEIO,
)  # fmt: skip
#: Further ones, whose words other errors have, too: no permission, a server that does not answer, too many
#: open files.
_STORAGE_ERRNOS = (
    *_STORAGE_ERRORS, errno.EACCES, errno.EPERM, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE
)  # fmt: skip


#: Of Linux's renameat2: both names exist, and are exchanged; paths are relative to the working directory.
_RENAME_EXCHANGE, _CWD = 2, -100
#: End of the name of an old folder that is set aside until the new one has its name.
_ASIDE = ".aside"


@contextmanager
def replacing(path: Path, *, parents: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`; it replaces `path` atomically if the block ends without an error.

    A new file has the permissions of the umask; one that is replaced keeps those that it has. With `parents`,
    missing folders are made; without, nothing is written in the place of a folder that is away.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _unused(path)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    mode = permissions(path if path.exists() else temporary)
    try:
        yield temporary
        flush_to_disk(temporary)
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException as error:
        _name_place(error, temporary, path)
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(folder: Path, ours: Callable[[str], bool], *, parents: bool = True) -> Iterator[Path]:
    """A new folder beside `folder`; it takes the place of `folder` if the block ends without an error.

    A reader never sees a mixture of old and new files, and a kill never leaves neither. What is in `folder`
    under a name that is not `ours` is kept. New files have the permissions of the umask; those that are
    replaced, and `folder`, keep theirs. With `parents`, missing folders are made; without, nothing is written
    in the place of one that is away. Where `folder` is a link, what it leads to is replaced.
    """
    folder = folder.resolve() if folder.is_symlink() else folder
    if parents:
        folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = new_folder(folder)
    try:
        yield fresh
        mode = permissions(fresh) & 0o666
        for path in [path for path in fresh.rglob("*") if path.is_file()]:
            flush_to_disk(path)
            old = folder / path.relative_to(fresh)
            path.chmod(permissions(old) if old.exists() else mode)
        if folder.exists():
            fresh.chmod(permissions(folder))
            for path in [path for path in folder.iterdir() if not ours(path.name)]:
                _duplicate(path, fresh / path.name)
            _exchange(fresh, folder)
        else:
            fresh.replace(folder)
    except BaseException as error:
        _name_place(error, fresh, folder)
        raise
    finally:  # the old version, or what an error has left unfinished
        shutil.rmtree(fresh, ignore_errors=True)


def _duplicate(path: Path, target: Path) -> None:
    """A second name for a file, or for all files of a folder; a copy where the file system has no links."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, target, symlinks=True, copy_function=_link)
    else:
        _link(path, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _exchange(fresh: Path, folder: Path) -> None:
    """Let two folders exchange their names: in one step, so that a kill finds the old one or the new one.

    Not every file system can (NFS cannot): there the old one is set aside for a moment, under a name from
    which `remove_leftovers` brings it back.
    """
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None or rename(_CWD, os.fsencode(fresh), _CWD, os.fsencode(folder), _RENAME_EXCHANGE) != 0:
        aside = fresh.with_name(fresh.name + _ASIDE)
        folder.replace(aside)
        try:
            fresh.replace(folder)
        except BaseException:
            aside.replace(folder)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _name_place(error: BaseException, temporary: Path, path: Path) -> None:
    """Let an error of the storage name `path`: a full disk names no file, other errors the temporary one."""
    if isinstance(error, OSError) and str(error.filename or temporary).startswith(str(temporary)):
        error.filename = str(path)


def file_name(text: str) -> str:
    """The name of a file for a text, which stays as it is where it can: others get a part of their hash."""
    plain = re.sub(r"[^\w.-]", "_", text)[:100].lstrip(".-")
    return (
        text if plain == text != "" else f"{plain or 'name'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    )


def flush_to_disk(path: Path) -> None:
    """Let a power cut no longer cost the content of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def new_folder(beside: Path) -> Path:
    """A new folder beside `beside`, with the permissions of the umask and a hidden name."""
    folder = _unused(beside)
    folder.mkdir()
    return folder


def intended(path: Path) -> Path:
    """What a temporary path of this module is to become; any other path as it is."""
    temporary = re.fullmatch(r"\.(.+)\.[0-9a-f]{12}", path.name)
    return path if temporary is None else path.with_name(temporary[1])


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing in `folder`, in which nobody writes now.

    An old version that it had set aside, with no new one in its place yet, comes back.
    """
    for path in sorted(folder.glob(".*")):
        temporary = path.with_name(path.name.removesuffix(_ASIDE))
        place = intended(temporary)
        if place == temporary:
            continue
        if path != temporary and not place.exists():
            path.replace(place)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def permissions(path: Path) -> int:
    """The permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def _unused(path: Path) -> Path:
    """Not tempfile's: what that makes is readable by nobody else, and cannot be told what the umask says."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}")


def write_text(path: Path, text: str, *, parents: bool = True) -> None:
    """Write a text file in UTF-8, atomically; see `replacing`."""
    with replacing(path, parents=parents) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tensors(path: Path, content: Any, *, parents: bool = True) -> None:
    """Write `content` as `torch.save` does, atomically; see `replacing`.

    In memory first: `torch.save` reports a full disk with errors that do not say so ("unexpected pos 64").
    """
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path, parents=parents) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Check that the file `path`, or the folder, can be made or replaced; nothing is left behind.

    Raises:
        UserError: it cannot: for lack of permission, on a full disk, because a part of it is a file, because
            it is a folder where a file is wanted or a file where a folder is, as a mount point, or for its
            name.
    """
    if path.name in ("", ".."):
        raise UserError(f"{path}: cannot be written, for it ends in no name; choose a name in that folder")
    if folder and path.is_mount():
        raise UserError(f"{path}: cannot be replaced, for it is a mount point; choose a folder in it")
    try:
        if path.exists() and path.is_dir() != folder:
            reason = errno.ENOTDIR if folder else errno.EISDIR
            raise OSError(reason, os.strerror(reason))
        place = Path(os.path.realpath(path)) if folder else path.absolute()
        parent, names = place.parent, [place.name]
        while not parent.exists():
            parent, names = parent.parent, [parent.name, *names]
        probe = _unused(parent / max(names, key=lambda name: len(os.fsencode(name))))
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> UserError:
    """The exception for a file or folder that could not be written."""
    return UserError(f"{path}: cannot be written ({error.strerror or error}); choose or make room elsewhere")


def read_json(path: Path, kind: type[_Json]) -> _Json | None:
    """The content of one of our own JSON files, a dict or a list as `kind` says; None: there is no such file.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        reason = first_line(error, length=200)
        raise UserError(f"{path}: is damaged; restore it from a copy ({reason})") from None
    if not isinstance(content, kind):
        raise UserError(f"{path}: is damaged; restore it from a copy (it is no {kind.__name__})")
    return content


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_storage_error(error: BaseException) -> bool:
    """Whether the storage refused a file: full, over quota, read-only, broken or out of reach.

    safetensors (Rust) and SQLite report it as errors of their own, and a sentence for the user stands for the
    error that it was made of.
    """
    if isinstance(error, UserError) and error.__context__ is not None and is_storage_error(error.__context__):
        return True
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRNOS:
        return True
    text = str(error)
    if any(f"(os error {number})" in text for number in _STORAGE_ERRNOS):
        return True
    words = ("database or disk is full", *map(os.strerror, _STORAGE_ERRORS))
    return any(word in text for word in words)
