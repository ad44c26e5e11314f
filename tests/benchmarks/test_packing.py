"""Concurrent trainings: the best number of them, and one that fails while the others wait for it."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import packing
from benchmarks.speed.packing import best_number, throughput
from rigsl.config import RIGSLConfig


def one_fails(measurement: packing.Measurement, start: Any, counts: Any) -> None:
    """Takes the place of `packing.train`: the first process fails, the others wait for it."""
    try:
        Path(measurement.device).touch(exist_ok=False)
    except FileExistsError:
        start.wait()
    else:
        raise SystemExit(1)


def test_a_training_that_fails_ends_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "train", one_fails)
    with pytest.raises(RuntimeError, match="2 concurrent trials: a process failed"):
        throughput(2, RIGSLConfig(), str(tmp_path / "marker"), 0.1)


def test_a_training_that_has_failed_before_anybody_waits_ends_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_for_the_failure(self: Any) -> None:
        start(self)
        if not (tmp_path / "marker").exists():  # of the first process
            self.join()

    context = multiprocessing.get_context("spawn")
    start = context.Process.start
    monkeypatch.setattr(context.Process, "start", wait_for_the_failure)
    monkeypatch.setattr(packing, "train", one_fails)
    with pytest.raises(RuntimeError, match="2 concurrent trials: a process failed"):
        throughput(2, RIGSLConfig(), str(tmp_path / "marker"), 0.1)


def test_more_concurrent_trials_must_be_worth_it() -> None:
    assert best_number({1: 100.0, 2: 150.0, 4: 152.0, 8: 140.0}) == 2
    assert best_number({1: 100.0, 2: 150.0, 4: 160.0}) == 4
