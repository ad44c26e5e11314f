"""A password in the addresses of record and MLflow is in no file and in no output; without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from run_search import main
from search import run_folder
from search.results import Outcome
from search.terminal.summary import print_outcome, print_plan
from search.tracking import sync as syncing
from search.tracking import tracker as tracking
from search.tracking.tracker import Tracker
from tests.helpers.planted_secret import SECRET, WRONG, files_with_secret, storage_of
from tests.helpers.played_study import PlayedStudy

URI = f"http://user:{SECRET}@127.0.0.1:9"


def test_a_password_is_in_no_file_and_in_no_output(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for module in (tracking, syncing):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    storage = storage_of(home)
    played, console = PlayedStudy(home, URI, storage=storage), Console(soft_wrap=True)
    print_plan(played.plan, console)
    with Tracker(played.folder, URI, played.study, console.print) as tracker:
        played.play([tracker], 3, last="failed")
        tracker.interrupted()
    print_outcome(
        Outcome(played.plan, "all done", 2, {}, None, tracker.problem, tracker.page), home / "data", console
    )
    assert tracker.problem is not None
    assert "http://127.0.0.1:9 refuses" in tracker.problem
    given = ["--storage", storage]
    assert main(["--sync", "one", "--tracking-uri", URI, *given]) == 1
    assert main(["--status", "one", *given]) == 0
    assert main(["--report", "one", *given]) == 0
    for arguments in WRONG:
        assert main(["--space", "space.toml", "--data-dir", "data", "--trials", "1", *arguments]) == 2
    output = capsys.readouterr()
    assert SECRET not in output.out + output.err
    assert (played.folder / run_folder.REPORT).is_file()
    assert (home / "study.db").is_file()
    assert files_with_secret(home) == []
