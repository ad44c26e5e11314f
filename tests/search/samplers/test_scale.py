"""A study of thousands of trials: it ends, the driver stays small, and proposals stay quick."""

import os
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import optuna
import pytest

from benchmarks.speed.proposals import SPACE, fill, propose
from search.record import record
from search.space.space import Space, read_space
from tests.helpers.objectives import make_space

TRIALS = 2000


@pytest.fixture(autouse=True)
def _no_disk_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)


def growth(study: optuna.Study, folder: Path, space: Space) -> float:
    """Bytes that a trial leaves in the driver."""
    tracemalloc.start()
    propose(study, folder, space, "random", 100, watch=nullcontext, grace=1)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return grown / 100


@pytest.mark.soak
def test_a_study_of_2000_trials_ends_and_its_driver_stays_small(tmp_path: Path) -> None:
    """Most of them random, for the test's own sake: to the record, all samplers' trials are the same."""
    space, study = make_space(tmp_path), record.open_record(tmp_path, "large")
    propose(study, tmp_path, space, "random", TRIALS - 300, watch=nullcontext, grace=1)
    assert growth(study, tmp_path, space) < 50_000
    propose(study, tmp_path, space, "tpe", 200, watch=nullcontext, grace=1)
    counts = record.counts(record.open_record(tmp_path, "large"))
    assert counts["complete"] + counts["pruned"] == TRIALS
    assert min(counts["complete"], counts["pruned"]) > 100


def test_22_parameters_leave_the_driver_small_too(tmp_path: Path) -> None:
    space, study = read_space(SPACE), record.open_record(tmp_path, "large")
    propose(study, tmp_path, space, "random", 100, watch=nullcontext, grace=1)
    assert growth(study, tmp_path, space) < 50_000


class Work:
    """Counts the calls of functions in each proposal, which no busy machine changes, and its peak memory."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.peaks: list[int] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        tracemalloc.start()
        sys.setprofile(count)
        yield
        sys.setprofile(None)
        self.calls.append(calls)
        self.peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


@pytest.fixture(scope="module")
def studies() -> list[optuna.Study]:
    """A small and a large one, of the 22 parameters of MELD's space."""
    made = [optuna.create_study(direction="maximize") for _ in range(2)]
    for study, trials in zip(made, (TRIALS // 4, TRIALS), strict=True):
        fill(study, read_space(SPACE), trials)
    return made


@pytest.mark.parametrize("sampler", ["gp", "tpe", "joint", "cmaes"])
def test_a_proposal_needs_hardly_more_work_in_a_large_study(
    studies: list[optuna.Study], tmp_path: Path, sampler: str
) -> None:
    """Of four times as many trials, proportional work would need four times as much. What that is in
    milliseconds, ``python -m benchmarks.speed.proposals`` tells."""
    works = []
    for number, study in enumerate(studies):
        works.append(Work())
        propose(study, tmp_path / str(number), read_space(SPACE), sampler, 8, watch=works[-1])
    small, large = works
    assert np.median(large.calls) < 2.5 * np.median(small.calls)
    assert np.median(large.peaks) < 2 * np.median(small.peaks)
