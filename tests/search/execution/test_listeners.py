"""Stopper, clean-up and terminal follow a study's events, and share one look at the record after a trial."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search import run_folder
from search.execution.cleanup import RunFolderCleanup
from search.execution.clock import Clock
from search.execution.searcher import StudySearcher
from search.execution.signals import SignalWatch
from search.execution.stopper import StudyStopper
from search.record import record
from search.record.snapshot import take_snapshot
from search.record.trial_report import BY_ITSELF, TrialReport
from search.run_folder import MODEL, STATE
from search.space.budget import Budget
from search.space.space import Space
from search.terminal.progress import Progress


def add_trial(study: optuna.Study, score: float | None) -> FrozenTrial:
    """One more complete trial; without a `score`, a failed one."""
    state = TrialState.FAIL if score is None else TrialState.COMPLETE
    study.add_trial(create_trial(state=state, value=score))
    return study.trials[-1]


def test_the_record_is_read_once_for_every_trial_that_ends(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, clock, budget = optuna.create_study(direction="maximize"), Clock(), Budget(trials=3)
    stopper = StudyStopper(budget, clock, SignalWatch(), print)
    progress = Progress(study, clock.seconds, name="one", budget=budget, epochs=4)
    searcher = StudySearcher(
        study,
        space,
        sampler="random",
        seed=0,
        budget=budget,
        workers=1,
        overrides={},
        listeners=[RunFolderCleanup(study, tmp_path, clock), stopper, progress],
    )
    reads: list[bool] = []
    get_trials = study.get_trials

    def counted_get_trials(*args, **options) -> list[FrozenTrial]:
        reads.append(True)
        return get_trials(*args, **options)

    monkeypatch.setattr(study, "get_trials", counted_get_trials)
    for name in "abc":
        searcher.suggest(name)
        assert not stopper.stop_all()
        reads.clear()
        report = TrialReport(epoch=4, score=0.5, epochs=4, seconds=1.0, best_epoch=2, ended=BY_ITSELF)
        searcher.on_trial_complete(name, report.to_ray())
        assert len(reads) == 1
    assert stopper.stop_all()
    assert stopper.ending == "all 3 trials done"


def test_a_snapshot_says_what_the_record_says() -> None:
    study = optuna.create_study(direction="maximize")
    for score in (0.2, 0.5, None, 0.5):
        add_trial(study, score)
    study.ask()
    snapshot = take_snapshot(study)
    assert snapshot.ended == record.finished(study)
    assert snapshot.scores == [0.2, 0.5, None, 0.5]
    assert snapshot.winner == record.winner(study) == snapshot.trial(1)
    assert snapshot.counts == record.counts(study) == {"complete": 3, "pruned": 0, "failed": 1, "running": 1}


def test_the_stopper_says_once_why_the_search_ends() -> None:
    study, endings = optuna.create_study(direction="maximize"), []
    signals = SignalWatch()
    stopper = StudyStopper(Budget(target=0.4), Clock(), signals, endings.append)
    stopper.finished(add_trial(study, 0.3), take_snapshot(study))
    assert not stopper.stop_all()
    stopper.finished(add_trial(study, 0.5), take_snapshot(study))
    assert stopper.stop_all()
    signals.signal = 2  # comes too late to change the reason
    assert stopper.stop_all()
    assert endings == ["target 0.4 reached"]


def test_a_signal_ends_the_search_at_the_next_event() -> None:
    signals, endings = SignalWatch(), []
    stopper = StudyStopper(Budget(), Clock(), signals, endings.append)
    assert not stopper.stop_all()
    signals.signal = 15
    assert stopper.stop_all()
    assert endings == ["interrupted"]


def test_of_ended_trials_only_the_best_ones_model_stays(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")

    def end_trial(score: float) -> None:
        trial = add_trial(study, score)
        folder = run_folder.trial_folder(tmp_path, trial.number)
        (folder / MODEL).mkdir(parents=True)
        (folder / STATE).touch()
        cleanup.finished(trial, take_snapshot(study))

    cleanup = RunFolderCleanup(study, tmp_path, Clock(before=60.0))
    for score in (0.3, 0.2, 0.5):
        end_trial(score)
    cleanup = RunFolderCleanup(study, tmp_path, Clock(before=120.0))  # of the next process
    end_trial(0.1)
    assert [path.parent.name for path in tmp_path.rglob(MODEL)] == ["0002"]
    assert not list(tmp_path.rglob(STATE))
    assert record.seconds(study) == pytest.approx(120.0, abs=5)
