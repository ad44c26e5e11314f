"""The study in MLflow: a parent run with one child run a trial, written by one background thread.

Ray's MLflow callback writes synchronously between epochs, flat, and doubles runs on a resume. Here the driver
only leaves notes; a thread brings MLflow up to date every few seconds, in batches, and tries again when it
cannot. What a run holds is looked up first, so a resume goes on with the same runs and no step comes twice.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import environment, record
from search.curve import read_curve
from search.export import Exported
from search.mlflow_store import connect
from search.plan import Plan

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Seconds between two visits to MLflow, between two attempts when it is away, and for the last visit.
EVERY, AGAIN, LAST = 3.0, 10.0, 25.0
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED", "interrupted": "KILLED"}
PARENT = -1
#: Steps in one batch: MLflow takes 1000 metrics at a time.
STEPS = 40


@dataclass
class Run:
    """What one MLflow run should hold, and how much of it is there already."""

    number: int  #: of the trial; PARENT for the study's own
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)  #: step, time (ms), values
    status: str = "RUNNING"
    artifacts: list[tuple[Path, str]] = field(default_factory=list)
    run_id: str = ""
    written: int = 0  #: how many of `metrics`
    skip: frozenset[int] = frozenset()  #: steps that an earlier process wrote
    dirty: bool = True


class Tracker:
    """Brings MLflow up to date in the background; a listener of the study's events."""

    def __init__(self, plan: Plan, study: optuna.Study) -> None:
        self.plan, self.study = plan, study
        self.problem: str | None = None
        self._uri = plan.tracking_uri
        self._runs: dict[int, Run] = {}
        self._lock, self._wake, self._end = threading.Lock(), threading.Event(), threading.Event()
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    @property
    def page(self) -> str:
        """Where MLflow's pages show the trials, below the server's address; empty while that is unknown.

        The address says what kind of runs they are: MLflow would open on traces of language models.
        """
        runs = f"/#/experiments/{self._experiment}/runs?workflowType=machine_learning"
        return runs if self._experiment else ""

    def __enter__(self) -> Tracker:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        tags = {
            "dataset": self.plan.space.dataset,
            "features": self.plan.features,
            "protocol": "validation",
            "commit": environment.commit(),
            "seed": str(self.plan.seed),
            "space_hash": self.plan.space.content_hash,
            "versions": json.dumps(environment.versions()),
            "state": "running",
            "budget": self.plan.budget.describe(),
        }
        options = {name: str(value) for name, value in self.plan.options().items()}
        for name in ("budget", "tracking_uri"):  # MLflow refuses a parameter that a resume changes
            del options[name]
        self._runs[PARENT] = Run(PARENT, self.plan.name, tags, options)
        for trial in record.begun(self.study):
            self._restore(trial)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._wake.set()
        self._thread.join(LAST)
        if self._thread.is_alive():
            self.problem = self.problem or f"{self._uri} does not answer"

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """A child run for the trial, or the one that it had."""
        with self._lock:
            run = self._runs.setdefault(trial.number, Run(trial.number, f"trial {trial.number}"))
            run.params = {name: str(value) for name, value in config.items()}
            run.tags = self._tags(trial)
            run.status, run.dirty = "RUNNING", True

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """One epoch's metrics of a trial."""
        with self._lock:
            self._runs[number].metrics.append(_step(metrics))
            self._runs[number].dirty = True

    def finished(self, trial: FrozenTrial) -> None:
        """The trial's state, and a point on the study's curve."""
        with self._lock:
            self._finish(trial)

    def interrupted(self) -> None:
        """Nothing runs any more; a resume goes on with the same runs."""
        with self._lock:
            for run in self._runs.values():
                if run.status == "RUNNING":
                    run.status, run.dirty = STATUS["interrupted"], True
                    run.tags["state"] = "interrupted"

    def done(self, ending: str, exported: Exported | None) -> None:
        """The study is over: its result and its files."""
        with self._lock:
            parent = self._runs[PARENT]
            parent.tags |= {"state": "finished", "ending": ending}
            parent.status, parent.dirty = "FINISHED", True
            parent.artifacts = [(self.plan.folder / "report.html", "")]
            if exported is not None:
                parent.artifacts += [(exported.folder, "best")]
                parent.tags |= {"best_trial": str(exported.metrics["trial"])}
                parent.metrics.append(_step({"epoch": 0, "test_weighted_f1": exported.test["weighted_f1"]}))

    def _restore(self, trial: FrozenTrial) -> None:
        """What an earlier process may not have brought to MLflow any more."""
        run = self._runs[trial.number] = Run(trial.number, f"trial {trial.number}", self._tags(trial))
        for values in read_curve(record.folder_of(self.plan.folder, trial.number)):
            if values["epoch"] in trial.intermediate_values:  # a later one is reported again
                run.metrics.append(_step(values))
        if trial.state.is_finished():
            self._finish(trial)

    def _finish(self, trial: FrozenTrial) -> None:
        state = STATES[trial.state]
        run, parent = self._runs[trial.number], self._runs[PARENT]
        run.tags, run.status, run.dirty = self._tags(trial) | {"state": state}, STATUS[state], True
        if (value := record.score(trial)) is None:
            return
        # A point per end, in the order of the ends: by trial number the best so far could fall.
        ended = record.finished(self.study)
        place = [other.number for other in ended].index(trial.number)
        scores = [score for other in ended[: place + 1] if (score := record.score(other)) is not None]
        curve = {"trial_weighted_f1": value, "best_weighted_f1": max(scores)}
        parent.metrics.append(_step({"epoch": place + 1, **curve}))
        parent.dirty = True

    def _tags(self, trial: FrozenTrial) -> dict[str, str]:
        attributes = {name: str(value) for name, value in trial.user_attrs.items()}
        return {"trial": str(trial.number), "state": "running", "seed": str(self.plan.seed), **attributes}

    def _work(self) -> None:
        """The thread: visit MLflow until the study ends and everything is there."""
        give_up = float("inf")
        while True:
            last = self._end.is_set()
            if last:
                patience = 0.0 if self.problem else LAST - 5  # who did not answer so far is asked once more
                give_up = min(give_up, time.monotonic() + patience)
            try:
                self._visit()
                self.problem = None
                if last:
                    return
            except Exception as error:
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self.problem = f"{self._uri} does not take the runs ({first[:200]})"
                if last and time.monotonic() >= give_up:
                    return
            self._wake.wait((1.0 if last else AGAIN) if self.problem else EVERY)
            self._wake.clear()

    def _visit(self) -> None:
        if self._client is None:
            self._client, self._experiment = connect(self._uri, self.plan.space.dataset)
            self._find_runs()
        with self._lock:
            numbers = sorted(number for number, run in self._runs.items() if run.dirty)
        for number in numbers:
            with self._lock:
                run = self._runs[number]
                copy = Run(**(vars(run) | {"tags": dict(run.tags), "metrics": list(run.metrics)}))
                run.dirty = False
            try:
                self._bring(copy)
            except BaseException:
                run.dirty = True
                raise
            finally:
                run.run_id, run.written = copy.run_id, copy.written
            run.artifacts = []

    def _find_runs(self) -> None:
        """The runs that earlier processes made, and the steps that they hold."""
        assert self._client is not None
        parent = self._find_parent()
        found = {PARENT: parent} if parent else {}
        if parent:
            query = f"tags.`mlflow.parentRunId` = '{parent}'"
            for child in self._client.search_runs([self._experiment], query, max_results=50_000):
                found[int(child.data.tags["trial"])] = child.info.run_id
        with self._lock:
            for number, run_id in found.items():
                if run := self._runs.get(number):
                    key = "trial_weighted_f1" if number == PARENT else "best_weighted_f1"
                    history = self._client.get_metric_history(run_id, key)
                    run.run_id, run.skip = run_id, frozenset(metric.step for metric in history)

    def _find_parent(self) -> str:
        """The study's run: by the id in the record, or by its name where a kill came in between."""
        assert self._client is not None
        named = self._client.search_runs([self._experiment], f"attributes.run_name = '{self.plan.name}'")
        ids = {run.info.run_id for run in named if run.data.tags.get("kind") == "study"}
        recorded = self.study.user_attrs.get(f"mlflow_run_{PARENT}", "")
        return recorded if recorded in ids else min(ids, default="")

    def _bring(self, run: Run) -> None:
        """Make one MLflow run hold what it should."""
        from mlflow.entities import Metric, Param, RunTag

        assert self._client is not None
        if not run.run_id:
            self._create(run)
        tags = [RunTag(name, value[:5000]) for name, value in run.tags.items()]
        params = [Param(name, value[:6000]) for name, value in run.params.items()]
        self._client.log_batch(run.run_id, params=params, tags=tags)
        while run.written < len(run.metrics):
            steps = run.metrics[run.written : run.written + STEPS]
            batch = [
                Metric(name, value, stamp, step)
                for step, stamp, values in steps
                if step not in run.skip
                for name, value in values.items()
            ]
            self._client.log_batch(run.run_id, metrics=batch)
            run.written += len(steps)
        for path, name in run.artifacts:
            if path.is_dir():
                self._client.log_artifacts(run.run_id, str(path), name)
            elif path.exists():
                self._client.log_artifact(run.run_id, str(path), name or None)
        if self._client.get_run(run.run_id).info.status != run.status:
            if run.status == "RUNNING":
                self._client.update_run(run.run_id, status="RUNNING")
            else:
                self._client.set_terminated(run.run_id, run.status)

    def _create(self, run: Run) -> None:
        assert self._client is not None
        tags = {"kind": "study" if run.number == PARENT else "trial", **run.tags}
        if run.number != PARENT:
            tags["mlflow.parentRunId"] = self._runs[PARENT].run_id
        made = self._client.create_run(self._experiment, run_name=run.name, tags=tags)
        run.run_id = made.info.run_id
        self.study.set_user_attr(f"mlflow_run_{run.number}", run.run_id)


def _step(values: Mapping[str, float]) -> tuple[int, int, dict[str, float]]:
    """One entry of a run's metrics: step, time in ms, the finite numbers."""
    numbers = {name: float(value) for name, value in values.items() if name != "epoch"}
    finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
    return int(values["epoch"]), int(time.time() * 1000), finite
