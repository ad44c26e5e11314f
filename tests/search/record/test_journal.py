"""The journal stays readable whatever the disk does, on file systems without symbolic links, too."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.record import record
from search.record.journal import JournalLock
from search.run_folder import JOURNAL
from tests.helpers.small_disk import SmallDisk, small_disk


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "run", request, megabytes=2) as disk:
        yield disk


def test_a_disk_that_is_full_for_a_moment_does_not_damage_the_journal(disk: SmallDisk) -> None:
    study = record.open_record(disk.folder, "s")
    trial = study.ask()
    trial.report(0.5, 1)
    disk.fill()
    with pytest.raises(OSError, match="No space left on device"):
        study.set_user_attr("long", "x" * 10_000)
    journal = (disk.folder / JOURNAL).read_bytes()
    assert not journal.endswith(b"\n"), "the disk took a part of the line"
    disk.make_room()
    study.tell(trial, 0.5)
    study.set_user_attr("after", 1)
    again = record.open_record(disk.folder, "s")
    assert again.user_attrs == {"after": 1}
    assert [(trial.value, trial.intermediate_values) for trial in again.trials] == [(0.5, {1: 0.5})]
    assert [path.name for path in disk.folder.iterdir()] == [JOURNAL]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_journal_needs_no_symbolic_links(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "symlink", no_links)
    study = record.open_record(tmp_path, "s")
    study.tell(study.ask(), 0.5)
    assert [trial.value for trial in record.open_record(tmp_path, "s").trials] == [0.5]
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]


def test_a_folder_that_becomes_read_only_while_lines_are_written_is_named_as_the_reason(
    disk: SmallDisk,
) -> None:
    (disk.folder / JOURNAL).touch()
    lock = JournalLock(disk.folder / JOURNAL)
    lock.acquire()
    disk.make_read_only()
    with pytest.raises(OSError, match="Read-only file system"):
        lock.release()
    disk.make_writable()
    lock.release()
    with pytest.raises(RuntimeError, match="did not possess lock"):
        lock.release()
    lock.acquire()
    disk.take_away()
    with pytest.raises(FileNotFoundError):
        lock.release()
    disk.bring_back()
    lock.release()
