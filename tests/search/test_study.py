"""Whole studies on real Ray, a real journal and a real MLflow database."""

import dataclasses
import json
import os
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rigsl.errors import UserError
from search.confirm.final_record import read_final_record
from search.execution import clock
from search.export.rerun import rerun
from search.record import record
from search.results import Outcome
from search.run_folder import CARD, NEXT_SPACE, REPORT, STUDY
from search.space.budget import Budget
from search.study import run
from tests.helpers.listeners import Bystander, Interrupter, WorkerKiller
from tests.helpers.mlflow_contents import assert_mirrored, mlflow_runs
from tests.helpers.planted_secret import files_with_secret
from tests.helpers.toy_study import make_corpus, toy_plan, write_home
from tests.helpers.workers_here import keep_workers_here

pytestmark = pytest.mark.usefixtures("shared_ray")


@dataclass(frozen=True)
class WholeStudy:
    """A study that began without its tracking server, and was resumed with one and more trials."""

    home: Path
    untracked: Outcome
    outcome: Outcome


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, shared_ray: None, empty_mlflow: Path) -> WholeStudy:
    home = write_home(tmp_path_factory.mktemp("whole") / "home")
    shutil.copy(empty_mlflow, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        plan = toy_plan(home, workers=1, trials=2)
        with patch.context() as here:
            keep_workers_here(here)
            untracked = run(dataclasses.replace(plan, tracking_uri="http://127.0.0.1:9"))
        uri = f"sqlite:///{home}/mlflow.db"
        outcome = run(toy_plan(home, workers=1, resume=plan.name, trials=8, tracking_uri=uri))
    return WholeStudy(home, untracked, outcome)


def test_a_lost_tracking_server_never_stops_a_study(whole: WholeStudy) -> None:
    counts = whole.untracked.counts
    assert counts["complete"] + counts["pruned"] == 2
    assert "127.0.0.1:9" in str(whole.untracked.tracking_problem)
    assert_mirrored(whole.home, whole.outcome)


def test_without_finalists_and_seeds_the_searchs_best_checkpoint_is_tested(whole: WholeStudy) -> None:
    outcome = whole.outcome
    final = read_final_record(outcome.plan.folder)
    best = record.winner(record.read_record(outcome.plan.folder))
    assert final.finalists is None
    assert final.test.baseline is None
    assert final.test.seeds == (outcome.plan.seed,)
    assert outcome.exported.metrics["trial"] == best.number
    assert outcome.exported.validation["weighted_f1"] == pytest.approx(record.score(best), abs=1e-9)
    assert rerun(outcome.exported.folder, data_dir=whole.home / "data").equal


def test_the_token_of_a_studys_ray_is_in_no_file(whole: WholeStudy) -> None:
    assert files_with_secret(whole.home, os.environ["RAY_AUTH_TOKEN"]) == []


def test_a_study_from_start_to_export_and_again(whole: WholeStudy) -> None:
    home, outcome = whole.home, whole.outcome
    folder, counts = outcome.plan.folder, outcome.counts
    assert counts["complete"] + counts["pruned"] == 8
    assert counts["complete"] >= 1
    assert counts["pruned"] >= 1
    assert counts["running"] == counts["failed"] == 0
    study = record.read_record(folder)
    best = record.winner(study)
    metrics = json.loads((folder / "best" / "metrics.json").read_text(encoding="utf-8"))
    assert best is not None
    assert metrics["trial"] == best.number
    assert metrics["validation"]["weighted_f1"] == pytest.approx(best.value, abs=1e-9)
    assert set(metrics["test"]["f1"]) == set(make_corpus().classes)
    assert (folder / "report.html").stat().st_size > 1_000_000
    assert (folder / "history.png").is_file()
    kept = [path.parent.name for path in (folder / "trials").glob("*/model")]
    assert kept == [f"{best.number:04d}"]
    assert not list((folder / "trials").glob("*/state.pt"))
    # Only the user's own addresses and the commands on the pages name the place of the folder.
    places = {STUDY, REPORT, CARD, NEXT_SPACE}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in places]
    assert not [path for path in files if str(home).encode() in path.read_bytes()], "the folder can be moved"
    moved = shutil.move(folder, home / "elsewhere")
    try:
        result = rerun(moved / "best", data_dir=home / "data")
    finally:
        shutil.move(moved, folder)  # for the other tests of this study
    assert result.equal
    assert result.reproducible


@dataclass(frozen=True)
class Resumed:
    """A study that was interrupted by a signal, and lost a worker after it was resumed."""

    home: Path
    interrupted: Outcome
    statuses: set[str]  #: of the study's runs in MLflow, then
    before: list  #: its trials, then
    outcome: Outcome


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, shared_ray: None, empty_mlflow: Path) -> Resumed:
    home = write_home(tmp_path_factory.mktemp("resumed") / "home", epochs=20)
    shutil.copy(empty_mlflow, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        first = run(toy_plan(home, scheduler="none"), listeners=[Interrupter(2, 1, signal.SIGTERM)])
        statuses = {run.info.status for run in mlflow_runs(home)["study"]}
        before = record.read_record(first.plan.folder).trials
        killer = WorkerKiller(0, 3)
        outcome = run(toy_plan(home, workers=1, resume=first.plan.name), listeners=[killer])
    assert killer.acted
    return Resumed(home, first, statuses, before, outcome)


def test_an_interrupted_study_goes_on_without_losing_or_repeating_a_trial(resumed: Resumed) -> None:
    assert resumed.interrupted.interrupted == signal.SIGTERM
    assert resumed.interrupted.counts["running"] >= 1
    assert resumed.statuses == {"KILLED"}
    study = record.read_record(resumed.outcome.plan.folder)
    assert len(record.begun(study)) == 6
    for old, new in zip(resumed.before, study.trials, strict=False):
        assert (old.number, old.params) == (new.number, new.params)
        if old.state.is_finished():
            assert (old.state, old.values, old.intermediate_values) == (
                new.state,
                new.values,
                new.intermediate_values,
            )
        else:
            assert old.intermediate_values.items() <= new.intermediate_values.items()
    for trial in study.trials:
        assert trial.state.is_finished()
        assert sorted(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
    assert_mirrored(resumed.home, resumed.outcome)
    assert len({trial.user_attrs[record.HASH] for trial in record.begun(study)}) == 6


@pytest.mark.usefixtures("workers_here")
def test_a_study_whose_time_is_up_when_it_is_resumed_ends_its_interrupted_trials(tracked_home: Path) -> None:
    first = run(
        toy_plan(tracked_home, workers=1, scheduler="none"), listeners=[Interrupter(1, 2, signal.SIGTERM)]
    )
    assert first.counts["running"] == 1
    outcome = run(toy_plan(tracked_home, resume=first.plan.name, minutes=0.001))
    assert outcome.counts == {"complete": 1, "pruned": 1, "failed": 0, "running": 0}
    cut_off = record.read_record(outcome.plan.folder).trials[1]
    assert "time budget" in cut_off.user_attrs[record.REASON]
    assert len(cut_off.intermediate_values) >= 2
    assert_mirrored(tracked_home, outcome)


def test_a_killed_worker_costs_no_trial(resumed: Resumed) -> None:
    assert resumed.outcome.counts == {"complete": 6, "pruned": 0, "failed": 0, "running": 0}
    assert_mirrored(resumed.home, resumed.outcome)


@pytest.mark.usefixtures("workers_here")
def test_broken_trials_do_not_stop_a_study(tracked_home: Path) -> None:
    home = tracked_home
    text = (home / "space.toml").read_text(encoding="utf-8").replace('modals = "ld"\n', "")
    text = text.replace(
        "[[start]]", '[space.modals]\ntype = "choice"\nvalues = ["l", "ld"]\n[[start]]\nmodals = "ld"'
    )
    (home / "space.toml").write_text(text, encoding="utf-8")
    corpus = make_corpus()
    bad = corpus.features | {"d": np.full_like(corpus.features["d"], np.nan)}
    dataclasses.replace(corpus, features=bad).save(home / "data" / "meld_open.safetensors")
    outcome = run(toy_plan(home, workers=1, trials=8, sampler="random"))
    trials = record.begun(record.read_record(outcome.plan.folder))
    for trial in trials:
        assert (trial.state.name == "FAIL") == (trial.params["modals"] == "ld")
        if trial.state.name == "FAIL":
            assert trial.user_attrs[record.REASON].startswith("diverged")
    assert Counter(trial.state.name for trial in trials)["COMPLETE"] >= 1
    assert_mirrored(home, outcome)


class Later(Bystander):
    """An hour passes as soon as two trials have finished an epoch."""

    def __init__(self) -> None:
        self.trials: set[int] = set()
        self.seconds = 0.0

    def epoch(self, number, report) -> None:
        self.trials.add(number)
        self.seconds = 3600.0 if len(self.trials) == 2 else 0.0


def test_the_time_budget_ends_a_study_and_says_so(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Later()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + later.seconds))
    plan = toy_plan(tracked_home, minutes=30, trials=None, epochs=5000, scheduler="none")
    outcome = run(plan, listeners=[later])
    trials = record.begun(record.read_record(outcome.plan.folder))
    assert "time budget" in outcome.ending
    assert trials
    for trial in trials:
        assert trial.state.name == "PRUNED"
        assert "time budget" in trial.user_attrs[record.REASON]
    assert outcome.exported is not None
    assert outcome.exported.metrics["trial_complete"] is False
    assert rerun(outcome.exported.folder, data_dir=tracked_home / "data").equal
    with pytest.raises(UserError, match="has ended"):
        run(toy_plan(tracked_home, resume=outcome.plan.name))


@pytest.mark.usefixtures("workers_here")
def test_a_trial_that_left_a_fold_out_is_exported_and_rerun_without_it(tracked_home: Path) -> None:
    plan = toy_plan(tracked_home, trials=2, validation="folds", epochs=2)
    outcome = run(plan)
    metrics = outcome.exported.metrics
    assert metrics["validated_fold"] == 0
    assert metrics["folds"] == plan.trials_folds.tolist()
    assert rerun(outcome.exported.folder, data_dir=tracked_home / "data").equal
    assert "dev and a fold of train that trials leave out" in (plan.folder / REPORT).read_text()


@pytest.mark.usefixtures("workers_here")
def test_a_target_ends_a_study(tracked_home: Path) -> None:
    outcome = run(toy_plan(tracked_home, workers=1, trials=50, target=1e-6))
    assert "target" in outcome.ending
    assert outcome.counts["complete"] >= 1


@pytest.mark.usefixtures("workers_here")
def test_a_study_of_nothing_but_failures_ends(tracked_home: Path) -> None:
    corpus = make_corpus()
    bad = {letter: np.full_like(array, np.nan) for letter, array in corpus.features.items()}
    dataclasses.replace(corpus, features=bad).save(tracked_home / "data" / "meld_open.safetensors")
    plan = toy_plan(tracked_home, workers=1, trials=500)
    outcome = run(dataclasses.replace(plan, budget=Budget(trials=500)))
    assert "10 trials failed" in outcome.ending
    assert outcome.exported is None
    assert (outcome.plan.folder / "report.html").is_file()


def test_training_reads_the_shared_corpus_in_place_and_never_writes_it() -> None:
    import ray

    from rigsl.config import RIGSLConfig
    from rigsl.training.trainer import Training

    corpus = make_corpus()
    shared = ray.get(ray.put(corpus))
    for array in (*shared.features.values(), shared.labels, shared.text, shared.speakers):
        assert not array.flags.writeable
        assert not array.flags.owndata
    config = RIGSLConfig(modals="ld", hidden_dim=8, num_K=1, nodeformer_heads=1, nb_features_dim=4, epochs=1)
    Training(config, shared).step()
    assert shared.content_hash() == corpus.content_hash()
