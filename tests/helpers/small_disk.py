"""A file system of some megabytes that can be filled to its last page, made read-only, and taken away."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Set in a child process that has a mount namespace of its own.
_INSIDE = "RIGSL_TEST_MOUNT_NAMESPACE"


class SmallDisk:
    """A tmpfs that is seen at `folder`, and always at `share`."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self.share = folder, folder.with_name(f"{folder.name}-share")
        self._size, self._ballast = f"{megabytes}m", self.share / "ballast"

    def mount(self) -> bool:
        """Whether this process may mount it."""
        for folder in (self.share, self.folder):
            folder.mkdir(parents=True, exist_ok=True)
        if not _succeeds(
            "mount", "-t", "tmpfs", "-o", f"size={self._size},mode=0777", "tmpfs", str(self.share)
        ):
            return False
        self.bring_back()
        return True

    def end(self) -> None:
        """Unmount it, whatever has become of it."""
        while self.folder.is_mount():
            self.take_away()
        subprocess.run(["umount", "-l", str(self.share)], check=True)

    def fill(self) -> None:
        """Leave not one free page: it becomes as small as its content."""
        self._ballast.write_bytes(b"\0")  # a size of nothing would mean: no limit
        while not self._resize(str(self._used())):  # refused if something is written at the same time
            pass

    def make_room(self) -> None:
        """Undo `fill`."""
        assert self._resize(self._size)
        self._ballast.unlink()

    def _used(self) -> int:
        space = os.statvfs(self.share)
        return (space.f_blocks - space.f_bfree) * space.f_frsize

    def _resize(self, size: str) -> bool:
        return _succeeds("mount", "-o", f"remount,size={size}", str(self.share))

    def take_away(self) -> None:
        """Leave an empty folder in its place, as when a network share is unmounted; its content is kept."""
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def bring_back(self) -> None:
        """Undo `take_away`."""
        subprocess.run(["mount", "--bind", str(self.share), str(self.folder)], check=True)

    def make_read_only(self) -> None:
        """Let nothing be written in it any more, whoever tries; files that are open stay writable."""
        self.bring_back()  # once more, on top
        subprocess.run(["mount", "-o", "remount,ro,bind", str(self.folder)], check=True)

    def make_writable(self) -> None:
        """Undo `make_read_only`."""
        self.take_away()


@contextlib.contextmanager
def small_disk(folder: Path, request: pytest.FixtureRequest, megabytes: int = 32) -> Iterator[SmallDisk]:
    """A disk seen at `folder`; a user who may mount nothing runs the test in a namespace of its own."""
    disk = SmallDisk(folder, megabytes)
    if not disk.mount():
        _run_in_namespace(request)
    try:
        yield disk
    finally:
        disk.end()


def _run_in_namespace(request: pytest.FixtureRequest) -> None:
    """Run the requesting test in a child process with a user and mount namespace; then skip it here."""
    if _INSIDE in os.environ or not shutil.which("unshare") or not _succeeds("unshare", "-Urm", "true"):
        pytest.skip("a small file system cannot be mounted here, not even in a namespace of its own")
    test = f"{request.path}::{request.node.name}"
    command = ["unshare", "-Urm", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    environment = os.environ | {_INSIDE: "1"}
    done = subprocess.run(
        command, cwd=request.config.rootpath, env=environment, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    pytest.skip("passed in a mount namespace of its own")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
