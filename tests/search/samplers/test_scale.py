"""In a study of thousands of trials proposals stay quick, and a trial leaves little in the driver."""

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
from search.space.space import read_space
from tests.helpers.large_study import bytes_per_trial

TRIALS, PROPOSALS = 2000, 5

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_22_parameters_leave_the_driver_small_too(tmp_path: Path) -> None:
    space, study = read_space(SPACE), record.open_record(tmp_path, "large")
    propose(study, tmp_path, space, "random", 100, watch=nullcontext, grace=1)
    assert bytes_per_trial(study, tmp_path, space) < 50_000


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


@pytest.mark.parametrize("sampler", ["gp", "tpe", "cmaes"])
def test_a_proposal_needs_hardly_more_work_in_a_large_study(
    studies: list[optuna.Study], tmp_path: Path, sampler: str
) -> None:
    """Of four times as many trials, proportional work would need four times as much. What that is in
    milliseconds, ``python -m benchmarks.speed.proposals`` tells."""
    works = []
    for number, study in enumerate(studies):
        works.append(Work())
        propose(study, tmp_path / str(number), read_space(SPACE), sampler, PROPOSALS, watch=works[-1])
    small, large = works
    assert np.median(large.calls) < 2.5 * np.median(small.calls)
    assert np.median(large.peaks) < 2 * np.median(small.peaks)
