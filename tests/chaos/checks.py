"""What a study leaves, read without touching it: its record, its run folder and its runs in MLflow.

`Checker` compares it after every event with what was there before; `digest` is all that does not depend on
when, how often and where the study ran, and so must be equal to that of an undisturbed study.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from rigsl.errors import UserError
from search import run_folder
from search.record import record, times

#: Attributes of a trial, metrics and tags that differ from run to run of the same study.
_TIMES = {"seconds", "host", "gpu", times.STARTED_AT, times.ENDED_AT}
_MEASURED = ("epoch_seconds", "milliseconds")
#: Metrics of a study whose steps are the ends of its trials.
_BY_END = ("trial_weighted_f1", "best_weighted_f1")
_TAGS = ("state", "config_hash", "reason", "epochs", "best_epoch", "ending", "best_trial")
#: When the expectation of test was recorded, and how often test had been opened before, also by an evaluation
#: that was cut off. Its curve of the best trial follows the order of the trials' ends.
_TRUST = ("at", "openings")
#: Arrays of the predictions that say of which configurations they are.
_TESTED = ("winner_config", "average_config", "taught_config")
#: Files of ``best/`` that are the same in every run.
_EXPORTED = ("model.safetensors", run_folder.CONFIG, run_folder.OFFICIAL, run_folder.NEXT_SPACE)


class Checker:
    """Compares a study with what it was after the last event.

    Args:
        folder: its run folder.
        database: of its MLflow, a SQLite file.
    """

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder, self.database = folder, database
        self._trials: list[FrozenTrial] = []
        self._results: dict[str, Any] = {}
        self._predictions: dict[str, str] = {}

    def check(self) -> list[str]:
        """What is lost, changed, repeated or damaged; empty: nothing."""
        if not (self.folder / run_folder.STUDY).is_file():
            return ["the run folder is gone"] if self._trials else []
        problems = [*self._check_record(), *self._check_files(), *self._check_final_stage()]
        return [*problems, *self._check_mlflow()]

    def _check_record(self) -> Iterator[str]:
        before, now = self._trials, read_trials(self.folder)
        if now is None:
            if before:
                yield "the record cannot be read"
            return
        self._trials = now
        if len(now) < len(before):
            yield f"the record has {len(now)} trials, and had {len(before)}"
        for old, new in zip(before, now, strict=False):
            if old.state.is_finished() and _result(old) != _result(new):
                yield f"trial {old.number} had ended and changed: {_result(old)} -> {_result(new)}"
            if not old.params.items() <= new.params.items():
                yield f"trial {old.number} has other parameters: {old.params} -> {new.params}"
            if not old.intermediate_values.items() <= new.intermediate_values.items():
                yield f"trial {old.number} lost an epoch or its score"
        for trial in now:
            epochs = sorted(trial.intermediate_values)
            if epochs != list(range(1, len(epochs) + 1)):
                yield f"trial {trial.number} has the epochs {epochs}"
            reason = trial.user_attrs.get(record.REASON) or trial.user_attrs.get(record.NOT_RUN)
            if trial.state.name in ("PRUNED", "FAIL") and not reason:
                yield f"trial {trial.number} is {trial.state.name} without a reason"
        handed_out = [trial.user_attrs[record.HASH] for trial in now if _from_its_first_epoch(trial)]
        for name, count in Counter(handed_out).items():
            if count > 1:
                yield f"configuration {name} was trained {count} times"

    def _check_files(self) -> Iterator[str]:
        scratch = self.folder / run_folder.SCRATCH
        for path in self.folder.rglob("*"):
            if scratch in path.parents:  # Ray's own
                continue
            try:
                if path.suffix == ".json":
                    json.loads(path.read_text(encoding="utf-8"))
                elif path.suffix == ".toml" and path.parent.parent.name not in ("trials", "final"):
                    tomllib.loads(path.read_text(encoding="utf-8"))
            except (ValueError, OSError) as error:
                if path.exists():
                    yield f"{path.relative_to(self.folder)} is damaged: {error}"

    def _check_final_stage(self) -> Iterator[str]:
        results = _json(self.folder / run_folder.TRAININGS / run_folder.RESULTS)
        for name, result in self._results.items():
            if results and results.get(name, result) != result:
                yield f"the training {name} had ended and changed: {result} -> {results[name]}"
        self._results = {**self._results, **results}
        predictions = _arrays(self.folder / run_folder.PREDICTIONS)
        # A larger budget can bring other finalists, and with them another winner, teacher or average.
        same = all(predictions.get(name) == self._predictions.get(name) for name in _TESTED)
        if self._predictions and (same or not predictions) and predictions != self._predictions:
            yield "the predictions on test have changed"
        self._predictions = predictions
        openings = _json(self.folder / run_folder.FINAL).get("openings", [])
        if predictions and not openings:
            yield "there are predictions on test, but no opening is recorded"

    def _check_mlflow(self) -> Iterator[str]:
        trials = {trial.number: trial for trial in self._trials}
        with _mlflow(self.database) as rows:
            parents = _parents(rows, self.folder.name)
            if len(parents) > 1:
                yield f"MLflow has {len(parents)} runs of the study"
            for parent in parents:
                children = _children(rows, parent)
                for number, count in Counter(number for number, _ in children).items():
                    if count > 1:
                        yield f"MLflow has {count} runs of trial {number}"
                for number, run in children:
                    scores = dict(rows(f"select step, value from metrics {_OF} and key = 'weighted_f1'", run))
                    if number not in trials:
                        yield f"MLflow has a trial {number} that the record has not"
                    elif not scores.items() <= trials[number].intermediate_values.items():
                        yield f"MLflow has other scores of trial {number} than the record"

    def start_anew(self) -> None:
        """The study is continued with a larger budget: another configuration may win."""
        self._predictions, self._results = {}, {}


_OF = "where run_uuid = ?"


def read_trials(folder: Path) -> list[FrozenTrial] | None:
    """The trials of a study, its journal read from a copy: reading must not repair it; None: none yet."""
    journal = folder / run_folder.JOURNAL
    try:
        if not journal.exists():
            return record.read_record(folder).trials
        with tempfile.TemporaryDirectory() as copy:
            whole, _, _ = journal.read_bytes().rpartition(b"\n")
            Path(copy, run_folder.JOURNAL).write_bytes(whole + b"\n")
            for name in (run_folder.STUDY, run_folder.SPACE):
                shutil.copy(folder / name, copy)
            return record.read_record(Path(copy)).trials
    except (KeyError, UserError):  # killed before the study was in it
        return None


def digest(folder: Path, database: Path, *, order: bool = True) -> dict[str, Any]:
    """All of a finished study that a second run with the same seed has too.

    Args:
        folder: its run folder.
        database: of its MLflow, a SQLite file.
        order: whether the order of the trials' ends is part of it.
    """
    study = record.read_record(folder)
    standing = str(study.user_attrs.get(record.STANDING))
    trials = {str(trial.number): _trial_digest(trial, order) for trial in study.trials}
    final = _json(folder / run_folder.FINAL)
    openings = {opening["protocol"] for opening in final.pop("openings", [])}
    for name in _TRUST if order else (*_TRUST, "curve"):
        (final.get("trust") or {}).pop(name, None)
    best = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / run_folder.BEST / name for name in _EXPORTED)
        if path.is_file()
    }
    metrics = _json(folder / run_folder.BEST / run_folder.METRICS)
    metrics = {name: value for name, value in metrics.items() if name not in ("study", "openings", "commit")}
    metrics, final = _without_times(metrics), _without_times(final)
    names = {path.name for path in folder.iterdir()} - {run_folder.TERMINAL_LOG, run_folder.SYSTEM}
    kept = sorted(f"{path.parent.parent.name}/{path.name}" for path in folder.glob("*/*/*") if path.is_dir())
    result = {
        "standing": standing,
        "trials": trials,
        "final.json": final,
        "openings": sorted(openings),
        "predictions": _arrays(folder / run_folder.PREDICTIONS),
        "best": best,
        "metrics.json": metrics,
        "files": sorted(names),
        "kept": kept,
        "mlflow": _mlflow_digest(folder.name, database, order),
        "model versions": _model_versions(metrics["weights_sha256"], database),
    }
    return json.loads(json.dumps(result, default=str))


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two digests differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from differences(one.get(name), other.get(name), f"{where}/{name}")
    elif one != other:
        yield f"{where}: {str(other)[:300]} instead of {str(one)[:300]}"


def _result(trial: FrozenTrial) -> tuple[Any, ...]:
    values = dict(sorted(trial.intermediate_values.items()))
    return trial.state.name, trial.params, trial.values, values, trial.datetime_complete


def _from_its_first_epoch(trial: FrozenTrial) -> bool:
    attributes = trial.user_attrs
    return record.HASH in attributes and record.NOT_RUN not in attributes and "parent" not in attributes


def _trial_digest(trial: FrozenTrial, order: bool) -> dict[str, Any]:
    left_out = _TIMES if order else _TIMES | {times.ENDED}
    return {
        "state": trial.state.name,
        "params": trial.params,
        "values": trial.values,
        "scores": dict(sorted(trial.intermediate_values.items())),
        **{name: value for name, value in trial.user_attrs.items() if name not in left_out},
    }


def _json(path: Path) -> dict[str, Any]:
    """The content of a file; empty: it is not there, or damaged, which `Checker` says."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except ValueError:
        return {}


def _without_times(value: Any) -> Any:
    """Nested dicts without what was measured."""
    if isinstance(value, dict):
        return {name: _without_times(part) for name, part in value.items() if not name.endswith(_MEASURED)}
    return value


def _arrays(path: Path) -> dict[str, str]:
    """A digest of every array in a file, whose bytes hold the time at which it was written."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        kept = [name for name in arrays if not name.endswith(_MEASURED)]
        return {name: hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in kept}


def _mlflow_digest(study: str, database: Path, order: bool) -> dict[str, Any]:
    with _mlflow(database) as rows:
        parents = _parents(rows, study)
        runs = {f"study {index}": run for index, run in enumerate(parents)}
        for parent in parents:
            runs |= {f"trial {number}": run for number, run in _children(rows, parent)}
        by_end = () if order else _BY_END
        return {name: _run_digest(rows, run, by_end if run in parents else ()) for name, run in runs.items()}


def _model_versions(weights: str, database: Path) -> int:
    """How many versions in MLflow's registry have these weights."""
    query = "select count(*) from model_version_tags where key = 'weights_sha256' and value = ?"
    with _mlflow(database) as rows:
        return int(rows(query, weights)[0][0])


def _run_digest(rows: Any, run: str, left_out: tuple[str, ...]) -> Mapping[str, Any]:
    metrics = [
        row
        for row in rows(f"select key, step, value from metrics {_OF} order by key, step", run)
        if not row[0].startswith(("system/", *left_out)) and not row[0].endswith(_MEASURED)
    ]
    tags = dict(rows(f"select key, value from tags {_OF}", run))
    return {
        "status": rows(f"select status from runs {_OF}", run)[0][0],
        "params": dict(rows(f"select key, value from params {_OF} and key != 'study'", run)),
        "tags": {name: tags[name] for name in _TAGS if name in tags},
        "metrics": {f"{name} {step}": value for name, step, value in metrics},
    }


def _parents(rows: Any, study: str) -> list[str]:
    found = rows(
        "select r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'kind' and t.value = 'study' and r.name = ?",
        study,
    )
    return [run for (run,) in found]


def _children(rows: Any, parent: str) -> list[tuple[int, str]]:
    found = rows(
        "select n.value, p.run_uuid from tags p join tags n on n.run_uuid = p.run_uuid "
        "where p.key = 'mlflow.parentRunId' and p.value = ? and n.key = 'trial'",
        parent,
    )
    return [(int(number), run) for number, run in found]


@contextlib.contextmanager
def _mlflow(database: Path) -> Iterator[Any]:
    """A function that queries MLflow's database, which need not have tables yet."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:

        def rows(query: str, *values: Any) -> list[Any]:
            return connection.execute(query, values).fetchall()

        yield rows
