"""What the driver notes for MLflow while a study runs: no file, no request, microseconds an event."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from search.confirm.final_record import FinalRecord, read_final_record
from search.export.best import Exported
from search.record import record
from search.run_folder import FINAL, REPORT
from search.tracking.run_state import (
    PARENT,
    STATUS,
    Frame,
    Run,
    entry,
    milliseconds,
    point,
    stand,
    study_run,
    system_entry,
    trial_run,
)
from search.tracking.system_metrics import Line


class Notes:
    """What MLflow should hold of a study, kept up to date by the study's events.

    Args:
        frame: what the run folder says.
        study: the open record; it is read here and not touched later.
    """

    def __init__(self, frame: Frame, study: optuna.Study) -> None:
        self.frame = frame
        self.lock = threading.Lock()  #: held for a moment by whoever reads or writes `runs`
        self.runs = {PARENT: study_run(frame, study)}
        self.runs |= {trial.number: trial_run(frame, trial) for trial in record.begun(study)}
        for trial in record.running(study):  # now: a worker that goes on with it rewrites its curve
            self.runs[trial.number].read()
        scores = [record.score(trial) for trial in record.finished(study)]
        self._ended = len(scores)
        self._best = max((score for score in scores if score is not None), default=-1.0)

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """A child run for the trial, or the one that it had."""
        with self.lock:
            run = self._run_of(trial)
            run.params = {name: str(value) for name, value in config.items()}
            stand(run, self.frame, trial)

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """One epoch's metrics of a trial."""
        stamp = int(1000 * metrics.get("time", time.time()))
        with self.lock:
            self.runs[number].note(entry(int(metrics["epoch"]), stamp, metrics))

    def finished(self, trial: FrozenTrial) -> None:
        """The trial's state, and a point on the study's curve."""
        with self.lock:
            stand(self._run_of(trial), self.frame, trial)
            self._ended += 1
            if (value := record.score(trial)) is not None:
                self._best = max(self._best, value)
                self.runs[PARENT].note(point(trial, self._ended, value, self._best))

    def system(self, line: Line) -> None:
        """What the machine did in the last seconds."""
        with self.lock:
            self.runs[PARENT].note(system_entry(line))

    def interrupted(self, moment: int | None = None) -> None:
        """Nothing runs any more since `moment` (ms; by default now); a resume goes on with the same runs."""
        with self.lock:
            for run in self.runs.values():
                if run.status == "RUNNING" or run.number == PARENT:
                    run.status, run.end = STATUS["interrupted"], moment or milliseconds(None)
                    run.tags["state"] = "interrupted"
                    run.noted += 1

    def done(self, ending: str, exported: Exported | None) -> None:
        """The study is over: its result and its files."""
        with self.lock:
            run, report = self.runs[PARENT], self.frame.folder / REPORT
            run.tags |= {"state": "finished", "ending": ending}
            run.status, run.end, run.artifacts = "FINISHED", milliseconds(None), []
            if report.is_file():
                run.end, run.artifacts = int(1000 * report.stat().st_mtime), [(report, "")]
            run.noted += 1
            if exported is not None:
                folder = exported.folder
                run.artifacts += [(path, folder.name) for path in sorted(folder.iterdir()) if path.is_file()]
                if (self.frame.folder / FINAL).is_file():
                    run.artifacts.append((self.frame.folder / FINAL, ""))
                run.tags["best_trial"] = str(exported.metrics["trial"])
                ended = sum(exported.metrics["trials"].values())
                scores = _scores(exported) | _means(read_final_record(self.frame.folder))
                run.note(entry(ended, run.end, scores))

    def lighten(self) -> None:
        """MLflow is away, and nobody knows how long: keep no more than what is nowhere else."""
        with self.lock:
            for run in self.runs.values():
                run.lighten()

    def missing(self) -> list[int]:
        """The runs of which MLflow may not hold everything."""
        with self.lock:
            return sorted(number for number, run in self.runs.items() if run.dirty)

    def _run_of(self, trial: FrozenTrial) -> Run:
        if trial.number not in self.runs:
            run = self.runs[trial.number] = trial_run(self.frame, trial)
            run.load = None  # all that will be known of it is noted
        return self.runs[trial.number]


def _scores(exported: Exported) -> dict[str, float]:
    """``validation_weighted_f1``, ``test_accuracy`` and so on, of the exported checkpoint."""
    parts = {"validation": exported.validation, "test": exported.test}
    names = ("weighted_f1", "macro_f1", "accuracy")
    return {f"{split}_{name}": float(scores[name]) for split, scores in parts.items() for name in names}


def _means(final: FinalRecord) -> dict[str, float]:
    """``winner_test_mean`` and so on: weighted F1 over the tested seeds."""
    if final.test is None:
        return {}
    values: dict[str, float | None] = {}
    for who in ("winner", "baseline"):
        if (side := final.test.side(who)) is not None:
            values |= {f"{who}_test_mean": side.weighted_f1.mean, f"{who}_test_std": side.weighted_f1.std}
    return {name: value for name, value in values.items() if value is not None}
