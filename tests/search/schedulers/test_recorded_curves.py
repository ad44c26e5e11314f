"""What a new scheduler knows of a trial that was running when the process before it was killed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from ray.tune.schedulers import TrialScheduler

from search.record.learning_curve import write_curve
from search.schedulers.halving import RecordedHalving
from search.schedulers.recorded_curves import recorded_curves


@pytest.fixture
def study() -> optuna.Study:
    """A complete trial, and one that is running and worse."""
    study = optuna.create_study(direction="maximize")
    good, bad = study.ask(), study.ask()
    for epoch in (1, 2, 3, 4):
        good.report(0.5, epoch)
    study.tell(good, 0.5)
    for epoch in (1, 2):
        bad.report(0.1, epoch)
    return study


def _decision(study: optuna.Study, trials: Path, epoch: int) -> str:
    """What the scheduler of a resume decides when the running trial reports `epoch`."""
    scheduler = RecordedHalving("score", 4, 2, 2, 1, 0, recorded_curves(study, trials))
    trial = SimpleNamespace(trial_id="again", config={"number": 1})
    scheduler.on_trial_add(None, trial)
    result = {"epoch": epoch, "score": 0.1, "training_iteration": epoch}
    return scheduler.on_trial_result(None, trial, result)


def _train(trials: Path, epochs: int) -> None:
    (trials / "0001").mkdir()
    write_curve(trials / "0001", [{"epoch": epoch, "time": 0.0} for epoch in range(1, epochs + 1)])


def test_a_trial_that_was_killed_before_the_decision_on_it_is_stopped_by_the_resume(
    study: optuna.Study, tmp_path: Path
) -> None:
    _train(tmp_path, epochs=2)
    assert recorded_curves(study, tmp_path)[1] == {1: 0.1}
    assert _decision(study, tmp_path, epoch=2) == TrialScheduler.STOP


def test_a_trial_that_was_told_to_go_on_goes_on(study: optuna.Study, tmp_path: Path) -> None:
    _train(tmp_path, epochs=3)
    assert recorded_curves(study, tmp_path)[1] == {1: 0.1, 2: 0.1}
    assert _decision(study, tmp_path, epoch=3) == TrialScheduler.CONTINUE
