"""The lock of a study: on file systems without locks, and while others look at it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.record import lock
from search.run_folder import ROOT
from search.study import run

_LOOK = """
import sys
from pathlib import Path
from search.record import lock
print(lock.holder(Path(sys.argv[1])), flush=True)
while True:
    lock.holder(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused_before_anything_is_written(
    tracked_home: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS without its lock daemon, and Lustre without ``flock``."""
    plan = prepare(
        SearchOptions(space=tracked_home / "space.toml", data_dir=tracked_home / "data", trials=1, study="s")
    )

    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    with pytest.raises(
        UserError, match=r"/runs/.*: its file system cannot lock files .*take a folder on"
    ) as told:
        run(plan)
    assert "\n" not in str(told.value)
    assert list(plan.folder.parent.iterdir()) == []
    path = tracked_home / "a.lock"
    path.touch()
    assert lock.holder(path) is None


def test_looking_at_a_lock_does_not_refuse_a_search_that_starts(tmp_path: Path) -> None:
    path = tmp_path / "study.lock"
    path.touch()
    command = [sys.executable, "-c", _LOOK, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as looks:
        try:
            assert looks.stdout is not None
            assert looks.stdout.readline() == "None\n"
            for _ in range(3000):
                with lock.hold(path, "refused"):
                    pass
            assert looks.poll() is None
        finally:
            looks.kill()


def test_the_holder_of_a_lock_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.lock"
    assert lock.holder(path) is None
    ask = [sys.executable, "-c", _LOOK.partition("while")[0], str(path)]
    with lock.hold(path):
        name = f"{os.getpid()} on {socket.gethostname()}"
        assert lock.holder(path) == name
        asked = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=True)
        assert asked.stdout == f"{name}\n"
    assert subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "None\n"
