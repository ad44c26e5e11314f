"""The folder of a private Ray instance is this user's only, and no search removes that of a live one."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rigsl.errors import UserError
from rigsl.files import permissions
from search.execution import ray_folder
from search.execution.ray_folder import ray_folder as open_folder
from search.resources.cluster import PRIVATE
from search.run_folder import ROOT

#: A search that does nothing, with a child that outlives it, as Ray's servers may for a moment.
_SEARCH = """
import subprocess, sys, tempfile
from search.execution.ray_folder import ray_folder
tempfile.tempdir = sys.argv[1]
with ray_folder() as folder:
    child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
    print(folder, child.pid, flush=True)
    sys.stdin.read()
    child.kill()
    child.wait()
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, with a short name; other tests do not use it meanwhile."""
    with tempfile.TemporaryDirectory(prefix="p-", dir="/tmp") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


@pytest.fixture
def start(place: Path) -> Iterator[Callable[[], tuple[subprocess.Popen, Path, int]]]:
    """Starts a search in a process of its own: process, its folder, and its child."""
    searches: list[subprocess.Popen] = []
    children: list[int] = []

    def begin() -> tuple[subprocess.Popen, Path, int]:
        process = subprocess.Popen(
            [sys.executable, "-c", _SEARCH, str(place)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        searches.append(process)
        folder, child = process.stdout.readline().split()
        children.append(int(child))
        return process, Path(folder).parent, int(child)

    yield begin
    for process, child in zip(searches, children, strict=True):
        if process.poll() is None:
            process.communicate("")
        else:
            os.kill(child, 9)


def folders(place: Path) -> list[Path]:
    return sorted(place.glob(f"{PRIVATE}*"))


def test_it_is_closed_to_other_users_whatever_ray_does_with_its_own_part(place: Path) -> None:
    with open_folder() as name:
        Path(name).mkdir(mode=0o777)
        Path(name).chmod(0o777)  # as Ray does
        (outer,) = folders(place)
        assert Path(name).parent == outer
        assert permissions(outer) == 0o700
    assert folders(place) == []


def test_a_place_whose_name_is_too_long_for_sockets_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * ray_folder._MAX_PLACE)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with open_folder() as name:
        assert Path(name).parent.parent == Path("/tmp")
    monkeypatch.setattr(ray_folder, "_SHORT_PLACES", (str(long / "gone"),))
    with pytest.raises(
        UserError, match=r"^TMPDIR=.*x: is too long for the paths of Ray's sockets; set it to"
    ):
        open_folder().__enter__()
    assert list(long.iterdir()) == []


def test_without_any_place_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(UserError, match="TMPDIR: no folder for temporary files can be written"):
        open_folder().__enter__()


def test_the_folder_of_a_killed_search_is_removed_and_that_of_a_live_one_is_not(
    place: Path, start: Callable[[], tuple[subprocess.Popen, Path, int]]
) -> None:
    (killed, dead, child), (_, alive, _) = start(), start()
    killed.kill()
    killed.wait()
    os.kill(child, 0)  # a child of it is still there
    assert dead.is_dir()
    with open_folder():
        assert not dead.exists()
        assert alive.is_dir()
        assert len(folders(place)) == 2


@pytest.mark.parametrize("kernel", ["another-host 2aa3707f", ""], ids=["another host", "unknown"])
def test_what_may_belong_to_a_live_search_elsewhere_is_never_removed(
    place: Path, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    """Its lock may be invisible here, and its process id means nothing here."""
    other = place / f"{PRIVATE}4194304-abcdefgh"  # as of version 0.1.0, with an id that no process has
    other.mkdir()
    with open_folder():
        assert other.is_dir()
    (other / "owner").write_text(kernel, encoding="utf-8")
    with open_folder():
        assert other.is_dir()
    if not kernel:
        monkeypatch.setattr(ray_folder, "_kernel", lambda: "")
        with open_folder():
            assert other.is_dir()


def test_two_searches_on_a_file_system_without_locks_leave_each_other_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(37, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(ray_folder.fcntl, "flock", no_locks)
        with open_folder() as name, open_folder() as other:
            assert Path(name).parent.is_dir()
            assert Path(other).parent.is_dir()
    assert folders(place) == []
