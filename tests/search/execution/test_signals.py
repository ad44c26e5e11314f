"""The first signal is remembered, Ray does not take it away, and nohup stays in force."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rigsl.interruption import exit_code
from search.confirm.trainings import InterruptStopper, JobList, JobResults, JobSearcher
from search.execution import signals as signals_module
from search.execution import tune_run
from search.execution.signals import SIGNALS, SignalWatch
from search.resources.workers import Workers
from search.run_folder import ROOT
from search.study import run
from tests.helpers.toy_study import make_corpus, toy_plan
from tests.helpers.without_workers import replace_workers


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_remembered_and_the_second_one_ends_at_once(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals_module, "REPEATED_SECONDS", 0.0)
    before = signal.getsignal(number)
    with SignalWatch() as signals:
        os.kill(os.getpid(), number)
        assert signals.signal == number
        with pytest.raises(KeyboardInterrupt) as stop:
            os.kill(os.getpid(), number)
    assert exit_code(stop.value) == 128 + number
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_process_and_to_its_group_is_one(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals_module, "REPEATED_SECONDS", 3600.0)
    with SignalWatch() as signals:
        for _ in range(2):
            os.kill(os.getpid(), number)
        assert signals.signal == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_signal_that_python_ignores_in_a_destructor_still_ends_at_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Interrupted:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    def drop_it() -> None:
        interrupted = Interrupted()
        del interrupted
        waited_in_vain.wait()

    waited_in_vain = threading.Event()
    limit = threading.Timer(60, waited_in_vain.set)
    before = sys.unraisablehook
    with SignalWatch():
        os.kill(os.getpid(), signal.SIGINT)
        limit.start()
        with pytest.raises(KeyboardInterrupt):
            drop_it()
    limit.cancel()
    assert not waited_in_vain.is_set()
    assert sys.unraisablehook == before
    assert "Traceback" not in capfd.readouterr().err


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalWatch() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.interrupted
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_are_heard_while_ray_starts_runs_and_ends_and_after_its_end() -> None:
    code = """
import os, signal
from search import study
from search.execution import ray_session
from search.execution.signals import SignalWatch
from search.resources.workers import Workers
from ray._private.node import Node
from types import SimpleNamespace

plan = SimpleNamespace(
    name="s", corpus_bytes=0, workers=Workers(1, "cpu"), ray_address=None
)
now = ""

def at(moment):
    if moment == now:
        os.kill(os.getpid(), signal.SIGTERM)

def before(name, moment):
    method = getattr(Node, name)
    setattr(Node, name, lambda *args, **options: (at(moment), method(*args, **options))[1])

before("start_head_processes", "start")
before("kill_all_processes", "end")
def heard(early=None):
    with SignalWatch() as signals:
        with study._ray(plan, signals, early):
            at("run")
        at("after")
    print(now, signals.signal == signal.SIGTERM, flush=True)

for now in ("start", "run", "end", "after"):
    heard()
now = "start"
with ray_session.started_early(plan.workers, 0) as early:
    print(now, early.signals.signal == signal.SIGTERM, flush=True)
    now = "end"
    heard(early)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    moments = ("start", "run", "end", "after", "start", "end")
    assert done.stdout.splitlines() == [f"{moment} True" for moment in moments], done.stderr


def test_a_thread_takes_no_signal_back() -> None:
    """Such as the one that ends Ray's servers when one of them is lost."""
    errors: list[BaseException] = []
    with SignalWatch() as signals:

        def take_back() -> None:
            try:
                signals.take_back()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=take_back)
        thread.start()
        thread.join()
    assert errors == []


def test_signals_are_heard_while_this_process_registers_and_while_an_early_ray_ends_unused() -> None:
    code = """
import os, signal
from search.execution import ray_session
from search.resources.workers import Workers
from ray._private.node import Node

def before(owner, name):
    method = getattr(owner, name)
    def first(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return method(*args, **options)
    setattr(owner, name, first)
    return lambda: setattr(owner, name, method)

for owner, name in ((ray_session, "quiet"), (Node, "kill_all_processes")):
    put_back = before(owner, name)
    with ray_session.started_early(Workers(1, "cpu"), 0) as early:
        pass
    put_back()
    print(name, early.signals.signal == signal.SIGTERM, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["quiet True", "kill_all_processes True"], done.stderr


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


def test_a_study_that_is_stopped_at_once_says_how_to_go_on(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    replace_workers(monkeypatch, search=stopped)
    with pytest.raises(KeyboardInterrupt):
        run(toy_plan(tracked_home, study="s"))
    assert "go on with --resume s" in capsys.readouterr().out
