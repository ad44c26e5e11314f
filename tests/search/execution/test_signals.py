"""The first signal is remembered, Ray does not take it away, and nohup stays in force."""

import os
import signal
import subprocess
import sys

import pytest

from search.confirm.trainings import InterruptStopper, JobList, JobResults, JobSearcher
from search.execution import tune_run
from search.execution.signals import SIGNALS, SignalWatch
from search.resources.workers import Workers
from search.run_folder import ROOT
from tests.helpers.toy_study import make_corpus


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_remembered_and_the_second_one_ends_at_once(number: int) -> None:
    before = signal.getsignal(number)
    with SignalWatch() as signals:
        os.kill(os.getpid(), number)
        assert signals.signal == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalWatch() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.interrupted
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_are_heard_while_ray_runs_and_after_its_end() -> None:
    code = """
import os, signal
from search import study
from search.execution import ray_session
from search.execution.signals import SignalWatch
from search.resources.workers import Workers
from types import SimpleNamespace

plan = SimpleNamespace(
    corpus=SimpleNamespace(features={}), workers=Workers(1, "cpu"), ray_address=None
)
for inside in (True, False):
    with SignalWatch() as signals:
        with study._ray(plan, signals):
            if inside:
                os.kill(os.getpid(), signal.SIGTERM)
        if not inside:
            os.kill(os.getpid(), signal.SIGTERM)
        print(inside, signals.signal == signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["True True", "False True"], done.stderr


def test_a_second_signal_waits_for_no_worker(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def waited(_: object) -> None:
        raise AssertionError("it waits for the workers")

    monkeypatch.setattr(tune_run.tune, "run", interrupted)
    monkeypatch.setattr(tune_run, "_actors", set)
    monkeypatch.setattr(tune_run, "_wait_for_workers", waited)
    with pytest.raises(KeyboardInterrupt):
        tune_run.run_on_ray(
            make_corpus(),
            JobSearcher(JobList([]), JobResults(tmp_path), 1, None),
            workers=Workers(1, "cpu"),
            stopper=InterruptStopper(lambda: False),
            trials=tmp_path,
            scratch=tmp_path / "scratch",
        )
