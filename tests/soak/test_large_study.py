"""A study of 2,000 trials, with all that the driver does for them."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmarks.speed.proposals import propose
from search.record import record
from tests.helpers.large_study import bytes_per_trial
from tests.helpers.objectives import make_space

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("no_fsync")]

TRIALS = 2000


def test_a_study_of_2000_trials_ends_and_its_driver_stays_small(tmp_path: Path) -> None:
    """Most of them random, for the test's own sake: to the record, all samplers' trials are the same."""
    space, study = make_space(tmp_path), record.open_record(tmp_path, "large")
    propose(study, tmp_path, space, "random", TRIALS - 300, watch=nullcontext, grace=1)
    assert bytes_per_trial(study, tmp_path, space) < 50_000
    propose(study, tmp_path, space, "tpe", 200, watch=nullcontext, grace=1)
    counts = record.counts(record.open_record(tmp_path, "large"))
    assert counts["complete"] + counts["pruned"] == TRIALS
    assert min(counts["complete"], counts["pruned"]) > 100
