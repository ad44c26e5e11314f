"""Two thousand instant trials: the driver neither slows down nor grows."""

import time
import tracemalloc
from pathlib import Path
from statistics import median

import pytest

from benchmarks.simulator import Epoch, Job, Limits, our_method, simulate
from search import record
from search.keeper import Clock, Keeper
from search.runtime import ROOT
from search.space import read_space

TRIALS, LATE = 2000, 1900


@pytest.fixture
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is ours, not the disk's."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def test_two_thousand_trials(tmp_path: Path, no_waiting_for_the_disk: None) -> None:
    space = read_space(ROOT / "spaces" / "meld.toml")  # the largest: two dozen parameters

    def instant(config) -> list[Epoch]:
        return [Epoch(0.5 - abs(config["lr"] - 3e-4) - 0.1 / (epoch + 1), 1.0) for epoch in range(9)]

    study = record.open_record(tmp_path, "s")
    keeper, times = Keeper(study, tmp_path, Clock()), []

    def method(sampler: str):
        made = our_method(study, space, sampler=sampler, workers=8, listeners=[keeper])
        suggest = made.suggest

        def timed() -> Job | None:
            start = time.process_time()
            job = suggest()
            times.append(time.process_time() - start)
            return job

        made.suggest = timed
        return made

    simulate(method("random"), instant, workers=8, limits=Limits(trials=200))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    simulate(method("random"), instant, workers=8, limits=Limits(trials=LATE - 200))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / (LATE - 200) < 50_000, "bytes of the driver's memory for a trial"
    times.clear()
    simulate(method("tpe"), instant, workers=8, limits=Limits(trials=TRIALS - LATE))
    assert median(times) < 0.1, "CPU seconds of a proposal"
    counts = record.counts(study)
    assert counts["running"] == 0
    assert sum(counts.values()) == TRIALS
