"""A search whose own Ray loses a server ends with a sentence, and a resume goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from rigsl.errors import UserError
from search.execution import server_watch
from search.execution.server_watch import ServerWatch
from search.record import record
from search.study import run
from tests.helpers.listeners import Bystander, ServerKiller, kill_server
from tests.helpers.toy_study import toy_plan
from tests.helpers.workers_here import keep_workers_here


@pytest.mark.parametrize("server", ["gcs_server", pytest.param("raylet", marks=pytest.mark.soak)])
def test_a_lost_server_of_ray_is_one_sentence_and_costs_no_trial(
    tracked_home: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server == "gcs_server":  # a process that has put objects into its raylet's store ends with the raylet
        keep_workers_here(monkeypatch)
    killer = ServerKiller(1, 1, server)
    with pytest.raises(UserError, match=f"process {server} was killed or has crashed.*--resume s"):
        run(toy_plan(tracked_home, workers=1, trials=3, study="s", scheduler="none"), listeners=[killer])
    assert killer.acted
    before = record.read_record(tracked_home / "runs" / "s").trials
    outcome = run(toy_plan(tracked_home, workers=1, resume="s"))
    assert outcome.counts == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
    after = record.read_record(outcome.plan.folder).trials
    assert [trial.params for trial in before] == [trial.params for trial in after[: len(before)]]


class KillerAtTheEnd(Bystander):
    """Kills Ray's GCS when a trial has ended."""

    def __init__(self, number: int) -> None:
        self.number = number

    def finished(self, trial, snapshot) -> None:
        if trial.number == self.number:
            assert kill_server("gcs_server")


def test_finals_do_not_begin_on_a_ray_that_lost_a_server(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_workers_here(monkeypatch)
    plan = toy_plan(tracked_home, workers=1, trials=2, study="s", scheduler="none", finalists=2)
    with pytest.raises(UserError, match=r"process gcs_server was killed or has crashed.*--resume s"):
        run(plan, listeners=[KillerAtTheEnd(1)])
    outcome = run(toy_plan(tracked_home, workers=1, resume="s"))
    assert outcome.counts["complete"] == 2


def test_a_process_that_is_stuck_in_a_call_of_ray_is_ended_with_the_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended, lost = threading.Event(), SimpleNamespace(server="")
    monkeypatch.setattr(server_watch, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(server_watch, "PATIENCE", 0.01)
    monkeypatch.setattr(server_watch, "lost_server", lambda: lost.server)
    monkeypatch.setattr(server_watch, "_end_process", ended.set)
    with ServerWatch("s").guarding():
        lost.server = "gcs_server"
        assert ended.wait(60)  # as in a call that does not return
    assert "error: Ray's process gcs_server was killed or has crashed" in capfd.readouterr().err
    with pytest.raises(UserError, match="continue with --resume s"), ServerWatch("s").guarding():
        pass
