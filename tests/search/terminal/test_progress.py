"""What a running study prints where the output is no terminal, and the panel of a terminal."""

import io
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from search.confirm.trainings import JobResult
from search.record.snapshot import take_snapshot
from search.record.trial_report import TrialReport
from search.space.budget import Budget
from search.terminal.progress import Progress
from tests.helpers.run_folders import make_plan, make_study

REPORT = TrialReport(epoch=2, score=0.4567, metrics={"val_weighted_f1": 0.4321, "train_loss": 1.25})


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A complete trial, a pruned one, a failed one."""
    return make_study(make_plan(tmp_path), "cpf")


def make_progress(study: optuna.Study) -> tuple[Progress, io.StringIO]:
    """A progress after 65 seconds, and what it prints."""
    output = io.StringIO()
    console = Console(file=output, width=100)
    budget = Budget(trials=50)
    return Progress(study, lambda: 65.0, name="one", budget=budget, epochs=6, console=console), output


def test_ends_and_resumes_are_lines(study: optuna.Study) -> None:
    progress, output = make_progress(study)
    complete, pruned, failed = study.trials
    pruned.set_user_attr("epochs", 1)
    snapshot = take_snapshot(study)
    with progress:
        progress.started(pruned, {}, resumed=True)
        progress.started(failed, {}, resumed=False)
        progress.finished(complete, snapshot)
        progress.finished(pruned, snapshot)
        progress.finished(failed, snapshot)
        progress.ending("interrupted")
        progress.job_ended("trial 0, seed 1", JobResult(0.5, 3, 2))
        progress.job_ended("trial 0, seed 2", JobResult(None, 0, 0, "out of memory"))
    lines = [line.strip() for line in output.getvalue().splitlines()]
    assert lines[0] == "1:05  resuming trial 1 at epoch 3"
    assert lines[1].startswith(f"1:05  trial 0 complete {complete.value:.4f} after 6 epochs, 12 s (lr 0.01")
    assert lines[1].endswith("), new best")
    assert "after 1 epoch, 4 s" in lines[2]
    assert not lines[2].endswith("new best")
    assert lines[3].startswith("1:05  trial 2 failed: crashed: ValueError")
    assert lines[4] == "1:05  stopping: interrupted (once more to stop at once)"
    assert lines[5:] == ["1:05  trial 0, seed 1: 0.5000", "1:05  trial 0, seed 2: failed: out of memory"]


def test_the_panel_shows_what_runs_and_the_best_trial(study: optuna.Study) -> None:
    progress, output = make_progress(study)
    progress.started(study.trials[1], {}, resumed=False)
    progress.epoch(1, REPORT)
    progress.job_started("trial 0, seed 7")
    progress.console.print(progress._panel())
    panel = output.getvalue()
    for part in (
        "searching · 2 running · 1 complete · 1 pruned · 1 failed",
        f"best {study.trials[0].value:.4f} · trial 0 · lr 0.01",
        "1 min 5 s used of 50 trials",
        "2/6",
        "0.4321",
        "0.4567",
        "1.250",
        "trial 0, seed 7",
    ):
        assert part in panel, part
