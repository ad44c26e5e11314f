"""A search whose own Ray loses a server ends with a sentence, and a resume goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from rigsl.errors import UserError
from search.execution import server_watch
from search.execution.server_watch import ServerWatch
from search.record import record
from search.run_folder import ROOT
from search.study import run
from tests.helpers.lost_server import STUDY, run_and_lose
from tests.helpers.toy_study import toy_plan
from tests.helpers.workers_here import keep_workers_here


def ended_with_the_sentence(home: Path, server: str, when: str) -> bool:
    """Whether a study that loses a server ends with the sentence, by itself or with its process."""
    ended = run_and_lose(home, server, when)
    sentence = f"process {server} was killed or has crashed, so that no training can go on; continue with "
    return ended.returncode == 2 and f"{sentence}--resume {STUDY}" in " ".join(ended.stderr.split())


@pytest.mark.parametrize("server", ["gcs_server", pytest.param("raylet", marks=pytest.mark.soak)])
def test_a_lost_server_of_ray_is_one_sentence_and_costs_no_trial(
    tracked_home: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ended_with_the_sentence(tracked_home, server, "epoch")
    keep_workers_here(monkeypatch)
    before = record.read_record(tracked_home / "runs" / STUDY).trials
    outcome = run(toy_plan(tracked_home, workers=1, resume=STUDY))
    assert outcome.counts == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
    after = record.read_record(outcome.plan.folder).trials
    assert [trial.params for trial in before] == [trial.params for trial in after[: len(before)]]


def test_finals_do_not_begin_on_a_ray_that_lost_a_server(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ended_with_the_sentence(tracked_home, "gcs_server", "end")
    assert not list((tracked_home / "runs" / STUDY / "final").glob("*/config.toml"))
    keep_workers_here(monkeypatch)
    outcome = run(toy_plan(tracked_home, workers=1, resume=STUDY))
    assert outcome.counts["complete"] == 2


def test_a_process_ends_even_where_its_servers_cannot_be_ended() -> None:
    code = """
from types import SimpleNamespace
import ray
from search.execution.server_watch import _end_process
ray._private.worker._global_node = SimpleNamespace()
_end_process()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("kind", ["guarding", "watching"])
def test_a_process_that_is_stuck_in_a_call_of_ray_is_ended_with_the_sentence(
    kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended, lost = threading.Event(), SimpleNamespace(server="")
    monkeypatch.setattr(server_watch, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(server_watch, "PATIENCE", 0.01)
    monkeypatch.setattr(server_watch, "lost_server", lambda: lost.server)
    monkeypatch.setattr(server_watch, "_end_process", ended.set)
    with getattr(ServerWatch("s"), kind)() as watch:
        lost.server = "gcs_server"
        if watch is not None:
            watch()
        assert ended.wait(60)  # as in a call that does not return
    assert "error: Ray's process gcs_server was killed or has crashed" in capfd.readouterr().err
    with pytest.raises(UserError, match="continue with --resume s"), ServerWatch("s").guarding():
        pass
