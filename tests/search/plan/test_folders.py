"""A folder of runs that cannot be used is refused in a sentence, before anything is written."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import run_search
from rigsl.errors import UserError
from search.plan.options import check_disk_space, check_writable
from search.record import record
from search.study import run, write_folder
from tests.helpers.toy_study import toy_plan


@contextlib.contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Without the rights of root, if this process has them."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("runs", ["", "runs"])
def test_a_read_only_folder_is_refused(runs: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o555)
        with an_ordinary_user(), pytest.raises(UserError) as refused:
            check_disk_space(Path(folder) / runs)
        assert str(refused.value).startswith(f"--runs-dir {Path(folder) / runs}: {folder} is read-only")
        Path(folder).chmod(0o755)


def test_a_folder_that_may_not_be_entered_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0)
        with an_ordinary_user(), pytest.raises(UserError, match=r"cannot be used .Permission denied"):
            check_disk_space(Path(folder) / "inner" / "runs")
        Path(folder).chmod(0o755)


def test_a_writable_folder_is_accepted(tmp_path: Path) -> None:
    check_writable(tmp_path, "--runs-dir")
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_too_long_is_one_sentence(home: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--space", "space.toml", "--data-dir", "data", "--runs-dir", "x" * 300]
    assert run_search.main(options) == 2
    assert "cannot be used (File name too long)" in capsys.readouterr().err


def test_a_folder_that_became_a_file_is_one_sentence(home: Path) -> None:
    plan = toy_plan(home)
    (home / "runs").touch()
    with pytest.raises(UserError, match=r"--runs-dir .*runs: cannot be written .File exists"):
        run(plan)


def test_a_study_in_a_read_only_folder_is_not_resumed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = toy_plan(home, study="one")
    plan.folder.mkdir(parents=True)
    write_folder(plan, record.open_record(plan.folder, plan.name))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, *a, **b: path != plan.folder and access(path, *a, **b))
    monkeypatch.setattr(os, "supports_effective_ids", {os.access})
    with pytest.raises(UserError, match=r"^--resume one: .* is read-only for this user"):
        toy_plan(home, resume="one")
