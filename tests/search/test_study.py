"""Whole studies on real Ray, a real journal and a real MLflow database; one Ray for the module."""

import dataclasses
import json
import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rigsl.errors import UserError
from search.execution import ray_session
from search.plan.new_study import prepare
from search.plan.options import Wishes
from search.plan.plan import Plan
from search.record import record
from search.resources.workers import Workers
from search.space.budget import Budget
from search.space.schedule import Schedule
from search.study import run
from tests.helpers.mlflow_contents import assert_mirrored, mlflow_runs
from tests.helpers.toy_study import make_corpus, write_home


@pytest.fixture(scope="module", autouse=True)
def ray_of_the_module():
    """Two cores and two pretended GPUs."""
    with ray_session.running(Workers(4, "cpu", cpus=1, gpus=0.5, gpu_total=2), 10_000_000):
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_home(tmp_path / "home")
    monkeypatch.chdir(folder)
    return folder


def plan_for(home: Path, **wishes) -> Plan:
    wishes = {"trials": 6, "workers": 2, "space": home / "space.toml", "data_dir": home / "data"} | wishes
    workers = wishes.pop("workers")
    plan = prepare(Wishes(tracking_uri=f"sqlite:///{home}/mlflow.db", **wishes))
    return dataclasses.replace(plan, workers=Workers(workers, "cpu"))


def resumed(home: Path, name: str, workers: int = 2, **wishes) -> Plan:
    plan = prepare(Wishes(resume=name, data_dir=home / "data", **wishes))
    return dataclasses.replace(plan, workers=Workers(workers, "cpu"))


def test_a_study_from_start_to_export_and_again(home: Path) -> None:
    from search.export.rerun import rerun

    outcome = run(plan_for(home, trials=8))
    folder, counts = outcome.plan.folder, outcome.counts
    assert counts["complete"] + counts["pruned"] == 8
    assert counts["complete"] >= 1
    assert counts["pruned"] >= 1
    assert counts["running"] == counts["failed"] == 0
    assert_mirrored(home, outcome)
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
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "study.toml"]
    assert not [path for path in files if str(home).encode() in path.read_bytes()], "the folder can be moved"
    moved = folder.rename(home / "elsewhere")
    found = rerun(moved / "best", data_dir=home / "data")
    assert found.equal
    assert found.reproducible


def test_one_worker_and_one_seed_give_the_same_trials(home: Path) -> None:
    first, second = (run(plan_for(home, trials=4, workers=1, study=name, seed=5)) for name in ("one", "two"))
    told = []
    for outcome in (first, second):
        trials = record.begun(record.read_record(outcome.plan.folder))
        told.append([(trial.params, trial.state, trial.intermediate_values) for trial in trials])
    assert told[0] == told[1]


class Interrupter:
    """Sends this process a signal at a certain event of a study."""

    def __init__(self, number: int, epoch: int, sent: int) -> None:
        self.number, self.at, self.sent = number, epoch, sent

    def started(self, trial, config, resumed) -> None:
        pass

    def epoch(self, number, metrics) -> None:
        if number >= self.number and metrics["epoch"] >= self.at:
            os.kill(os.getpid(), self.sent)
            self.number = 10**9

    def finished(self, trial) -> None:
        pass


def test_an_interrupted_study_goes_on_without_losing_or_repeating_a_trial(home: Path) -> None:
    sent = signal.SIGTERM
    plan = plan_for(home, trials=6, epochs=12)
    outcome = run(plan, listeners=[Interrupter(2, 1, sent)])
    assert outcome.interrupted == sent
    before = record.read_record(outcome.plan.folder).trials
    assert outcome.counts["running"] >= 1
    assert {one.info.status for one in mlflow_runs(home)["study"]} == {"KILLED"}
    after = run(resumed(home, outcome.plan.name))
    trials = record.read_record(after.plan.folder).trials
    assert len(record.begun(record.read_record(after.plan.folder))) == 6
    for old, new in zip(before, trials, strict=False):
        assert (old.number, old.params) == (new.number, new.params)
        if old.state.is_finished():
            assert (old.state, old.values, old.intermediate_values) == (
                new.state,
                new.values,
                new.intermediate_values,
            )
        else:
            assert old.intermediate_values.items() <= new.intermediate_values.items()
    for trial in trials:
        assert trial.state.is_finished()
        assert sorted(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
    assert_mirrored(home, after)
    assert (
        len({trial.user_attrs[record.HASH] for trial in record.begun(record.read_record(after.plan.folder))})
        == 6
    )


def test_broken_trials_do_not_stop_a_study(home: Path) -> None:
    text = (home / "space.toml").read_text(encoding="utf-8").replace('modals = "ld"\n', "")
    text = text.replace(
        "[[start]]", '[space.modals]\ntype = "choice"\nvalues = ["l", "ld"]\n[[start]]\nmodals = "ld"'
    )
    (home / "space.toml").write_text(text, encoding="utf-8")
    corpus = make_corpus()
    bad = corpus.features | {"d": np.full_like(corpus.features["d"], np.nan)}
    dataclasses.replace(corpus, features=bad).save(home / "data" / "meld_open.safetensors")
    outcome = run(plan_for(home, trials=8, sampler="random"))
    trials = record.begun(record.read_record(outcome.plan.folder))
    for trial in trials:
        assert (trial.state.name == "FAIL") == (trial.params["modals"] == "ld")
        if trial.state.name == "FAIL":
            assert trial.user_attrs[record.REASON].startswith("diverged")
    assert Counter(trial.state.name for trial in trials)["COMPLETE"] >= 1
    assert_mirrored(home, outcome)


class WorkerKiller(Interrupter):
    """Kills a worker process at an event, as the system does when memory runs out."""

    def epoch(self, number, metrics) -> None:
        import psutil

        if number >= self.number and metrics["epoch"] >= self.at:
            self.number = 10**9
            for process in psutil.process_iter(["cmdline"]):
                title = " ".join(process.info["cmdline"] or [])
                mine = any(parent.pid == os.getpid() for parent in process.parents())
                if title.startswith("ray::") and "TrialWorker" in title and mine:
                    process.kill()
                    return


def test_a_killed_worker_costs_no_trial(home: Path) -> None:
    outcome = run(plan_for(home, trials=3, epochs=30, scheduler="none"), listeners=[WorkerKiller(0, 3, 0)])
    assert outcome.counts == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
    assert_mirrored(home, outcome)


def test_the_time_budget_ends_a_study_and_says_so(home: Path) -> None:
    plan = plan_for(home, minutes=0.5, trials=None, epochs=5000)
    outcome = run(dataclasses.replace(plan, schedule=Schedule("none")))
    trials = record.begun(record.read_record(outcome.plan.folder))
    assert "time budget" in outcome.ending
    assert trials
    for trial in trials:
        assert trial.state.name == "PRUNED"
        assert "time budget" in trial.user_attrs[record.REASON]
    assert outcome.exported is not None
    assert outcome.exported.metrics["trial_complete"] is False
    from search.export.rerun import rerun

    assert rerun(outcome.exported.folder, data_dir=home / "data").equal
    with pytest.raises(UserError, match="has ended"):
        run(resumed(home, outcome.plan.name))


def test_a_target_ends_a_study(home: Path) -> None:
    outcome = run(plan_for(home, trials=50, target=1e-6))
    assert "target" in outcome.ending
    assert outcome.counts["complete"] >= 1


def test_a_gpu_in_halves_carries_two_trials(home: Path) -> None:
    alive: set[int] = set()
    most = []

    class Count(Interrupter):
        def epoch(self, number, metrics) -> None:
            alive.add(number)
            most.append(len(alive))

        def finished(self, trial) -> None:
            alive.discard(trial.number)

    plan = plan_for(home, trials=4, epochs=60)
    plan = dataclasses.replace(
        plan, workers=Workers(4, "cpu", gpus=0.5, gpu_total=2), schedule=Schedule("none")
    )
    outcome = run(plan, listeners=[Count(0, 0, 0)])
    assert outcome.counts["complete"] == 4
    assert max(most) == 4


def test_a_lost_tracking_server_never_stops_a_study(home: Path) -> None:
    plan = dataclasses.replace(plan_for(home, trials=2), tracking_uri="http://127.0.0.1:9")
    outcome = run(plan)
    assert outcome.counts["complete"] + outcome.counts["pruned"] == 2
    assert "127.0.0.1:9" in str(outcome.tracking_problem)
    later = run(resumed(home, outcome.plan.name, trials=3, tracking_uri=f"sqlite:///{home}/mlflow.db"))
    assert_mirrored(home, later)


def test_a_study_of_nothing_but_failures_ends(home: Path) -> None:
    corpus = make_corpus()
    bad = {letter: np.full_like(array, np.nan) for letter, array in corpus.features.items()}
    dataclasses.replace(corpus, features=bad).save(home / "data" / "meld_open.safetensors")
    plan = plan_for(home, trials=500)
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
