"""Twenty kills at random moments: the driver and its workers, again and again, until the study is over."""

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.speed.overhead import trial_workers
from search.record import record
from tests.helpers.commands import start_search

KILLS, EPOCHS = 20, 8
#: More than any machine trains before the last kill; so many more than had ended then are trained in the end.
TRIALS, LAST = 10_000, 10
NEW = ("--space", "space.toml", "--trials", str(TRIALS), "--study", "s", "--scheduler", "none")


pytestmark = pytest.mark.soak


@pytest.fixture
def epochs() -> int:
    return EPOCHS


def trials(home: Path, copy: Path) -> list:
    """The record as it lies there after a kill, read from a copy: reading must not repair it."""
    journal = home / "runs" / "s" / record.JOURNAL
    if not journal.exists():
        return []
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    whole, _, _ = journal.read_bytes().rpartition(b"\n")
    (copy / record.JOURNAL).write_bytes(whole + b"\n")
    try:
        return record.read_record(copy).trials
    except (KeyError, ValueError):  # killed before the study was in it
        return []


def wait_for_workers(driver: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while not trial_workers(driver.pid) and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.1)


def kill_worker(driver: int, rng: random.Random) -> bool:
    """SIGKILL for one of the driver's workers; whether there was one."""
    workers = trial_workers(driver)
    if workers:
        rng.choice(workers).kill()
    return bool(workers)


def result(trial) -> tuple:
    return trial.state, trial.params, trial.values, trial.intermediate_values, trial.datetime_complete


def check_kept(before: list, after: list) -> None:
    """No finished trial of `before` is lost or changed, and no running one lost an epoch."""
    assert len(after) >= len(before)
    for old, new in zip(before, after, strict=False):
        if old.state.is_finished():
            assert result(old) == result(new)
        assert old.params.items() <= new.params.items()
        assert old.intermediate_values.items() <= new.intermediate_values.items()


def ended(trials: list) -> int:
    return sum(trial.state.is_finished() for trial in trials)


def test_no_kill_costs_a_finished_trial(home: Path, tmp_path: Path) -> None:
    rng, kills, before = random.Random(20), 0, []
    while kills < KILLS:
        process = start_search(home, *(("--resume", "s") if (home / "runs" / "s").exists() else NEW))
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0.5, 6))  # a kill while everything starts
        else:
            wait_for_workers(process)
            for _ in range(rng.randint(2, 4)):
                time.sleep(rng.uniform(0, 3))
                kills += kill_worker(process.pid, rng)
            time.sleep(rng.uniform(0, 2))
        assert process.poll() is None, (home / "output.txt").read_text(encoding="utf-8")
        process.kill()  # nobody else: what it started goes down by itself
        kills += 1
        process.wait(30)
        after = trials(home, tmp_path / "copy")
        check_kept(before, after)
        before = after
    assert ended(before) >= 5, "the kills met hardly a finished trial"
    total = ended(before) + LAST
    process = start_search(home, "--resume", "s", "--trials", str(total))
    assert process.wait(400) == 0, (home / "output.txt").read_text(encoding="utf-8")
    study = record.read_record(home / "runs" / "s")
    check_kept(before, study.trials)
    assert len(study.trials) == total
    for trial in study.trials:
        assert trial.state.is_finished()
        assert trial.state.name == "COMPLETE" or trial.user_attrs[record.REASON]
        assert sorted(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
    assert len({trial.user_attrs[record.HASH] for trial in study.trials}) == total, "a trial was repeated"
    assert record.counts(study)["complete"] > total / 2
