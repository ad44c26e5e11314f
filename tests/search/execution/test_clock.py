"""The time that a study has used: its budget counts the search alone."""

from pathlib import Path

import pytest

from search import run_folder
from search.confirm.stage import FinalStage
from search.confirm.trainings import JobResult
from search.execution import clock as clock_module
from search.execution.cleanup import RunFolderCleanup
from search.execution.clock import Clock
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.record import record
from search.record.trial_report import TrialReport
from search.study import run
from tests.helpers.without_workers import replace_workers

METRICS = {"val_weighted_f1": 0.5, "train_loss": 1.0}


class ManualTime:
    """A monotonic clock that stands still unless the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def manual(monkeypatch: pytest.MonkeyPatch) -> ManualTime:
    made = ManualTime()
    monkeypatch.setattr(clock_module, "time", made)
    return made


def test_the_final_stage_does_not_count_as_search(manual: ManualTime) -> None:
    clock = Clock(before=100.0, gpu_before=10.0, share=0.5, total_before=150.0)
    clock.running(2)
    manual.now += 60.0
    clock.search_ended()
    manual.now += 30.0
    assert clock.seconds() == 160.0
    assert clock.gpu_seconds() == 70.0
    assert clock.total_seconds() == 240.0


def test_the_time_budget_of_a_resume_has_what_the_search_left(
    tracked_home: Path, manual: ManualTime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import run_search

    def move(seconds: float) -> None:
        manual.now += seconds

    replace_workers(monkeypatch, search=lambda *_: move(1770.0), final=lambda: move(940.0))
    given = {"data_dir": tracked_home / "data", "tracking_uri": f"sqlite:///{tracked_home}/mlflow.db"}
    plan = prepare(SearchOptions(space=tracked_home / "space.toml", minutes=30.0, study="one", **given))
    study = record.read_record(run(plan).plan.folder)
    assert record.seconds(study) == 1770.0
    assert record.total_seconds(study) == 2710.0
    assert run_search.main(["--status", "one"]) == 0
    assert "29 min 30 s of 30 min; 45 min 10 s with the final stage" in capsys.readouterr().out
    report = (plan.folder / run_folder.REPORT).read_text(encoding="utf-8")
    assert report.index("29 min 30 s") < report.index("45 min 10 s")
    resumed = prepare(SearchOptions(resume="one", minutes=40.0, **given))
    study = record.read_record(run(resumed).plan.folder)  # refused, if the final stage had counted
    assert record.seconds(study) == 2 * 1770.0
    assert record.total_seconds(study) == 2 * 2710.0


class Killed(BaseException):
    """The end of a process after which nothing is written, as after a SIGKILL."""


def test_a_kill_in_the_final_stage_loses_little_of_its_time(
    tracked_home: Path, manual: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(*_: object) -> None:
        manual.now += 100.0

    def train(stage: FinalStage) -> None:
        watcher, report = stage.trainings.watcher, TrialReport(1, 0.5, 1, 1.0, 1, 0.4, 0.2, METRICS)
        watcher.job_started("trial 1, seed 2")
        for seconds in (8.0, 8.0, 8.0):  # two of them are more than a kill may lose
            manual.now += seconds
            watcher.job_epoch("trial 1, seed 2", report)
        manual.now += 5.0
        watcher.job_ended("trial 1, seed 2", JobResult(0.5, 3, 2))
        manual.now += 9.0
        raise Killed

    replace_workers(monkeypatch, search=search)
    monkeypatch.setattr(FinalStage, "run", train)
    given = {"data_dir": tracked_home / "data", "tracking_uri": f"sqlite:///{tracked_home}/mlflow.db"}
    plan = prepare(SearchOptions(space=tracked_home / "space.toml", study="one", **given))
    for times in (1, 2):
        with pytest.raises(Killed):
            run(plan)
        study = record.read_record(plan.folder)
        assert record.seconds(study) == times * 100.0
        assert record.total_seconds(study) == times * 129.0
        plan = prepare(SearchOptions(resume="one", **given))


def test_the_time_is_written_before_a_training_ends(home: Path, manual: ManualTime) -> None:
    study, clock = record.open_record(home, "one"), Clock()
    cleanup = RunFolderCleanup(study, home, clock)
    manual.now += 100.0
    clock.search_ended()
    cleanup.write_clock()
    for _ in range(3):
        manual.now += 8.0
        cleanup.job_epoch("trial 1, seed 2", TrialReport(1, 0.5))
    assert (record.seconds(study), record.total_seconds(study)) == (100.0, 116.0)


def test_a_record_without_a_total_time_has_that_of_its_search(home: Path) -> None:
    study = record.open_record(home, "earlier")
    study.set_user_attr(record.SECONDS, 271.0)
    assert (record.seconds(study), record.total_seconds(study)) == (271.0, 271.0)
