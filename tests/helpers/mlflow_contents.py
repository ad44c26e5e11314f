"""Whether MLflow holds exactly what the run folder and the record of a study hold."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

from rigsl.config import from_toml
from search import run_folder
from search.record import record, times
from search.record.learning_curve import METRIC, read_curve
from search.study import Outcome
from search.tracking.system_metrics import PREFIX, read_system

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "RUNNING": "KILLED"}
STATE = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "interrupted"}


def make_empty_database(path: Path) -> Path:
    """An MLflow database without a run at `path`, to be copied: MLflow needs seconds to make one."""
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def runs_at(uri: str) -> dict[str, list]:
    """All runs in the MLflow at `uri`: of studies and of trials."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("rigsl-meld")
    runs: dict[str, list] = {"study": [], "trial": []}
    if experiment is None:
        return runs
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        runs[run.data.tags["kind"]].append(run)
    return runs


def forget_addresses() -> None:
    """Have MLflow open its databases anew: it keeps a connection to every address that it has met.

    A relative address would lead into the folder of an earlier test.
    """
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
    from mlflow.tracking._model_registry.registry import ModelRegistryStoreRegistry
    from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry

    for store in (RegistryStore, TrackingStore):
        store._engine_map.clear()
    for registry in (ModelRegistryStoreRegistry, TrackingStoreRegistry):
        registry._get_store_with_resolved_uri.cache_clear()


def mlflow_runs(home: Path) -> dict[str, list]:
    """All runs in the MLflow of the working directory `home`."""
    return runs_at(f"sqlite:///{home}/mlflow.db")


def assert_mirrored(home: Path, outcome: Outcome) -> None:
    """MLflow holds the only study of the working directory `home`, nothing is missing, nothing twice."""
    assert outcome.tracking_problem is None
    assert len(mlflow_runs(home)["study"]) == 1
    assert_held(f"sqlite:///{home}/mlflow.db", outcome.plan.folder)


def assert_held(uri: str, folder: Path) -> None:
    """The MLflow at `uri` holds the study in `folder`, nobody runs it; nothing is missing, nothing twice."""
    runs, study = runs_at(uri), record.read_record(folder)
    parents = [run for run in runs["study"] if run.info.run_name == folder.name]
    assert len(parents) == 1
    parent, trials = parents[0], record.begun(study)
    children = [run for run in runs["trial"] if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
    by_number = {int(run.data.tags["trial"]): run for run in children}
    assert sorted(by_number) == sorted(trial.number for trial in trials)
    assert len(children) == len(by_number), "a trial is there twice"
    origin = json.loads((folder / "environment.json").read_text(encoding="utf-8"))[-1]
    for run in (parent, *children):
        assert run.data.tags["seed"] == str(origin["seed"])
        assert run.data.tags["commit"] == origin["commit"]
        assert json.loads(run.data.tags["versions"]) == origin["versions"]
        assert run.data.tags["space_hash"] == parent.data.tags["space_hash"]
    for trial in trials:
        _assert_trial(uri, by_number[trial.number], trial, run_folder.trial_folder(folder, trial.number))
    _assert_study(uri, parent, study, folder)


def _assert_trial(uri: str, run: Any, trial: Any, folder: Path) -> None:
    assert run.info.status == STATUS[trial.state.name]
    assert run.data.tags["state"] == STATE[trial.state.name]
    for name, value in trial.user_attrs.items():
        assert run.data.tags[name] == str(value)
    assert run.info.start_time == int(1000 * times.started_at(trial).timestamp())
    if trial.state.is_finished():
        assert run.info.end_time == int(1000 * times.ended_at(trial).timestamp())
    if (folder / "config.toml").is_file():
        config = from_toml(folder / "config.toml").to_dict()
        assert run.data.params == {name: str(value) for name, value in config.items()}
    assert _history(uri, run, METRIC) == sorted(trial.intermediate_values.items())
    lines = [line for line in read_curve(folder) if line["epoch"] in trial.intermediate_values]
    assert [step for step, _ in _history(uri, run, "epoch_seconds")] == [line["epoch"] for line in lines]
    # An epoch that a lost worker's successor trained again took another time.
    for name in {name for line in lines for name in line} - {"epoch", "time", "epoch_seconds"}:
        assert _history(uri, run, name) == [(line["epoch"], line[name]) for line in lines]


def _assert_study(uri: str, run: Any, study: Any, folder: Path) -> None:
    from mlflow import MlflowClient

    ended = list(enumerate(record.finished(study), 1))
    scores = [(count, score) for count, trial in ended if (score := record.score(trial)) is not None]
    assert _history(uri, run, "trial_weighted_f1") == scores
    best = list(accumulate((score for _, score in scores), max))
    assert _history(uri, run, METRIC) == [(count, top) for (count, _), top in zip(scores, best, strict=True)]
    lines = read_system(folder)
    for name in {name for line in lines for name in line if name.startswith(PREFIX)}:
        series = [(line["seconds"], line[name]) for line in lines if name in line]
        assert _history(uri, run, name) == series
        assert [step for step, _ in series] == sorted({step for step, _ in series}), "a second came twice"
    state, _, ending = str(study.user_attrs[record.STANDING]).partition(": ")
    finished = state == "finished"
    assert run.info.status == ("FINISHED" if finished else "KILLED")
    assert run.data.tags["state"] == ("finished" if finished else "interrupted")
    if finished:
        assert run.data.tags["ending"] == ending
        files = {path.name: path.stat().st_size for path in (folder / "best").glob("*") if path.is_file()}
        client = MlflowClient(uri)
        listed = client.list_artifacts(run.info.run_id, "best")
        assert {Path(file.path).name: file.file_size for file in listed} == files
        report = [
            file.file_size for file in client.list_artifacts(run.info.run_id) if file.path == "report.html"
        ]
        assert report == [(folder / "report.html").stat().st_size]


def _history(uri: str, run: Any, metric: str) -> list[tuple[int, float]]:
    """All values of a metric as (step, value), in the order of the steps; each must be there once."""
    from mlflow import MlflowClient

    history = MlflowClient(uri).get_metric_history(run.info.run_id, metric)
    return sorted((entry.step, entry.value) for entry in history)
