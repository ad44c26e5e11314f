"""The final stage: fresh seeds decide, test is opened once, and nothing before it depends on test labels."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from search.confirm import stage as final_stage
from search.confirm.evaluation import read_final_record, read_predictions
from search.execution import ray_session
from search.export.rerun import rerun
from search.plan.new_study import prepare
from search.plan.options import Wishes
from search.record import record
from search.resources.workers import Workers
from search.run_folder import RESULTS
from search.study import Outcome, run
from tests.helpers.toy_study import make_corpus, write_home

FINAL = {"finalists": 2, "finalist_seeds": 2, "test_seeds": 2}


@pytest.fixture(scope="module", autouse=True)
def ray_of_the_module():
    with ray_session.running(Workers(2, "cpu"), 10_000_000):
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_home(tmp_path / "home")
    monkeypatch.chdir(folder)
    return folder


def searched(home: Path, workers: int = 2, **wishes) -> Outcome:
    uri = f"sqlite:///{home}/mlflow.db"
    given = {} if "resume" in wishes else {"space": home / "space.toml", "trials": 4, **FINAL}
    plan = prepare(Wishes(tracking_uri=uri, data_dir=home / "data", **(given | wishes)))
    return run(dataclasses.replace(plan, workers=Workers(workers, "cpu")))


def before_test(folder: Path) -> list:
    """All that a study has decided without the test split."""
    trials = record.read_record(folder).trials
    told = [(trial.state, trial.params, trial.values, trial.intermediate_values) for trial in trials]
    final, metrics = read_final_record(folder), json.loads((folder / "best" / "metrics.json").read_text())
    kept = ["trial", "seed", "best_epoch", "recorded_weighted_f1", "validation", "lineage"]
    jobs = json.loads((folder / "final" / RESULTS).read_text())
    chosen = [
        final["finalists"],
        final["winner"],
        final["test"]["validation"],
        {key: metrics[key] for key in kept},
    ]
    return [told, jobs, *chosen, (folder / "best" / "model.safetensors").read_bytes()]


def test_nothing_before_the_test_depends_on_test_labels(home: Path) -> None:
    first = searched(home, workers=1, study="first")
    corpus = make_corpus()
    labels = corpus.labels.copy()
    rows = corpus.rows(corpus.dialogues("test"))
    labels[rows] = np.random.default_rng(1).permutation(labels[rows])
    dataclasses.replace(corpus, labels=labels).save(home / "data" / "meld_open.safetensors")
    second = searched(home, workers=1, study="second")
    assert before_test(first.plan.folder) == before_test(second.plan.folder)
    tests = [read_final_record(outcome.plan.folder)["test"]["winner"] for outcome in (first, second)]
    assert tests[0] != tests[1], "the labels of test do matter in the end"


def test_the_winner_has_the_best_mean_and_test_is_opened_once(home: Path) -> None:
    outcome = searched(home, study="one")
    folder = outcome.plan.folder
    final = read_final_record(folder)
    candidates = final["finalists"]["candidates"]
    assert [len(one["scores"]) for one in candidates] == [2, 2]
    assert candidates[0]["state"] == "winner"
    assert candidates[0]["mean"] == max(one["mean"] for one in candidates)
    assert final["winner"]["trial"] == candidates[0]["trial"]
    seeds = {*final["finalists"]["seeds"], *final["test"]["seeds"], outcome.plan.seed}
    assert len(seeds) == 5, "every stage has seeds of its own"
    assert [opening["protocol"] for opening in final["openings"]] == ["validation"]
    runs = read_predictions(folder)
    assert {who: one.seeds for who, one in runs.items()} == dict.fromkeys(
        ("winner", "baseline"), tuple(final["test"]["seeds"])
    )
    metrics = outcome.exported.metrics
    place = final["test"]["seeds"].index(metrics["seed"])
    assert final["test"]["validation"]["winner"][place] == max(final["test"]["validation"]["winner"])
    assert metrics["test"]["weighted_f1"] == final["test"]["winner"]["weighted_f1"]["values"][place]
    assert len(list((folder / "final").glob("*/model"))) == 1
    assert rerun(folder / "best", data_dir=home / "data").equal
    again = searched(home, resume="one", trials=5)
    after = read_final_record(folder)
    same = after["winner"]["config_hash"] == final["winner"]["config_hash"]
    assert len(after["openings"]) == (1 if same else 2)
    assert again.exported.metrics["openings"] == after["openings"]


def test_an_interrupted_final_goes_on_and_trains_nothing_twice(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    class Interrupting(final_stage.JobSearcher):
        def on_trial_complete(self, trial_id, result=None, error=False) -> None:
            super().on_trial_complete(trial_id, result, error)
            ended.append(trial_id)
            if len(ended) == 3:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(final_stage, "JobSearcher", Interrupting)
        outcome = searched(home, study="one")
    assert outcome.interrupted == signal.SIGINT
    assert outcome.exported is None
    kept = json.loads((outcome.plan.folder / "final" / RESULTS).read_text())
    assert len(kept) >= 3
    assert "openings" not in read_final_record(outcome.plan.folder)
    models = {path: path.stat().st_mtime_ns for path in outcome.plan.folder.glob("final/*/model/*.toml")}
    stamped = {}
    monkeypatch.setattr(
        final_stage, "open_test", _noting(final_stage.open_test, stamped, outcome.plan.folder)
    )
    after = searched(home, resume="one")
    assert after.exported is not None
    done = {name for name in kept if kept[name]["score"] is not None}
    for path, stamp in models.items():
        if path.parent.parent.name in done:
            assert stamped[path] == stamp, "it was trained again"


def _noting(open_test, stamped: dict, folder: Path):
    def call(*arguments):
        stamped.update({path: path.stat().st_mtime_ns for path in folder.glob("final/*/model/*.toml")})
        return open_test(*arguments)

    return call


def test_without_finalists_and_seeds_the_searchs_best_checkpoint_is_tested(home: Path) -> None:
    outcome = searched(home, study="one", finalists=0, test_seeds=0)
    final = read_final_record(outcome.plan.folder)
    best = record.winner(record.read_record(outcome.plan.folder))
    assert final["finalists"] is None
    assert final["test"]["baseline"] is None
    assert final["test"]["seeds"] == [outcome.plan.seed]
    assert outcome.exported.metrics["trial"] == best.number
    assert outcome.exported.validation["weighted_f1"] == pytest.approx(record.score(best), abs=1e-9)
    assert rerun(outcome.exported.folder, data_dir=home / "data").equal


def test_the_fields_protocol_is_told_apart(home: Path) -> None:
    outcome = searched(home, study="one", finalists=0, test_seeds=1, protocol="paper")
    final = read_final_record(outcome.plan.folder)
    assert [opening["protocol"] for opening in final["openings"]] == ["validation", "paper"]
    assert final["paper"]["winner"]["mean"] >= 0
    assert outcome.exported.metrics["protocol"] == "validation"
