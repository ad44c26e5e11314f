"""What the driver notes for MLflow during a study: in memory, in microseconds, without any request."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from search.confirm.answers import answers_in_numbers, several_answers
from search.confirm.final_record import FinalRecord, read_final_record
from search.export.best import ExportedModel
from search.record import record, times
from search.record.snapshot import StudySnapshot
from search.record.trial_report import TrialReport
from search.run_folder import FINAL, REPORT
from search.tracking.run_state import (
    PARENT,
    STATUS,
    RunState,
    StudyContext,
    metrics_entry,
    milliseconds,
    study_run,
    system_entry,
    trial_end_entry,
    trial_run,
    update_trial_run,
)
from search.tracking.system_metrics import Line


class EventLog:
    """What MLflow should contain of a study, kept up to date by the study's events (a listener).

    Args:
        context: what all runs of the study share.
        study: the open record; it is read here, and once more by `done`.
    """

    def __init__(self, context: StudyContext, study: optuna.Study) -> None:
        self.context, self._study = context, study
        self.lock = threading.Lock()  #: held briefly by every reader and writer of `runs`
        self.runs = {PARENT: study_run(context, study)}
        begun = [trial for trial in record.begun(study) if not record.is_proposal(trial)]
        self.runs |= {trial.number: trial_run(context, trial) for trial in begun}
        for trial in record.running(study):  # now: a worker that resumes it rewrites its learning curve
            if trial.number in self.runs:
                self.runs[trial.number].load()
        scores = [record.score(trial) for trial in record.finished(study)]
        self._ended = len(scores)
        self._best = max((score for score in scores if score is not None), default=-1.0)

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """Add a child run for the trial, or update the one that it has."""
        with self.lock:
            run = self._run_of(trial)
            run.params = {name: str(value) for name, value in config.items()}
            update_trial_run(run, self.context, trial)

    def epoch(self, number: int, report: TrialReport) -> None:
        """Add the metrics of one epoch of trial `number`."""
        stamp = int(1000 * report.metrics.get("time", time.time()))
        with self.lock:
            self.runs[number].add(metrics_entry(report.epoch, stamp, report.metrics))

    def finished(self, trial: FrozenTrial, snapshot: StudySnapshot) -> None:
        """Update the trial's state, and add its score to the metrics of the study's run."""
        with self.lock:
            update_trial_run(self._run_of(trial), self.context, trial)
            self._ended += 1
            if (score := record.score(trial)) is not None:
                self._best = max(self._best, score)
                self.runs[PARENT].add(trial_end_entry(trial, self._ended, score, self._best))

    def system(self, line: Line) -> None:
        """Add the system metrics of the last seconds."""
        with self.lock:
            self.runs[PARENT].add(system_entry(line))

    def interrupted(self, moment: int | None = None) -> None:
        """Mark what is running as interrupted at `moment` (ms; None: now); a resume continues these runs."""
        with self.lock:
            for run in self.runs.values():
                if run.status == "RUNNING" or run.number == PARENT:
                    run.status, run.end = STATUS["interrupted"], moment or milliseconds(None)
                    run.tags["state"] = "interrupted"
                    run.changes += 1

    def done(self, ending: str, exported: ExportedModel | None) -> None:
        """Mark the study as finished, and add its scores and files."""
        with self.lock:
            run, report = self.runs[PARENT], self.context.folder / REPORT
            run.tags |= {"state": "finished", "ending": ending}
            run.status, run.end, run.artifacts = "FINISHED", milliseconds(None), []
            if report.is_file():
                run.end, run.artifacts = int(1000 * report.stat().st_mtime), [(report, "")]
            if (ended := self._study.user_attrs.get(times.ENDED_AT)) is not None:  # copies change file times
                run.end = int(1000 * ended)
            run.changes += 1
            if exported is not None:
                folder = exported.folder
                run.artifacts += [(path, folder.name) for path in sorted(folder.iterdir()) if path.is_file()]
                if (self.context.folder / FINAL).is_file():
                    run.artifacts.append((self.context.folder / FINAL, ""))
                run.tags["best_trial"] = str(exported.metrics["trial"])
                ended = sum(exported.metrics["trials"].values())
                final = read_final_record(self.context.folder)
                scores = _checkpoint_scores(exported) | _test_means(final) | _answers(final)
                run.add(metrics_entry(ended, run.end, scores))

    def drop_buffers(self) -> None:
        """MLflow is away, perhaps for long: keep nothing in memory that the run folder has, too."""
        with self.lock:
            for run in self.runs.values():
                run.drop_buffer()

    def pending(self) -> list[int]:
        """The numbers of the runs with changes that MLflow may not have got."""
        with self.lock:
            return sorted(number for number, run in self.runs.items() if run.pending)

    def _run_of(self, trial: FrozenTrial) -> RunState:
        if trial.number not in self.runs:
            run = self.runs[trial.number] = trial_run(self.context, trial)
            run.loader = None  # a new trial: all its events are buffered
        return self.runs[trial.number]


def _checkpoint_scores(exported: ExportedModel) -> dict[str, float]:
    """``validation_weighted_f1``, ``test_accuracy`` and so on, of the exported checkpoint."""
    splits = {"validation": exported.validation, "test": exported.test}
    names = ("weighted_f1", "macro_f1", "accuracy")
    return {f"{split}_{name}": float(scores[name]) for split, scores in splits.items() for name in names}


def _test_means(final: FinalRecord) -> dict[str, float]:
    """``winner_test_mean`` and so on: mean and standard deviation of test weighted F1 over the seeds."""
    if final.test is None:
        return {}
    values: dict[str, float | None] = {}
    for side in ("winner", "baseline"):
        if (scores := final.test.side(side)) is not None:
            f1 = scores.weighted_f1
            values |= {f"{side}_test_mean": f1.mean, f"{side}_test_std": f1.std}
    return {name: value for name, value in values.items() if value is not None}


def _answers(final: FinalRecord) -> dict[str, float]:
    """``taught_test_weighted_f1``, ``average_parameters`` and so on, of a study with several answers.

    Scores on test have ``test`` in their name: ``weighted_f1``, ``low``, ``high``, ``baseline``,
    ``difference``, ``p``.
    """
    if final.test is None or not several_answers(final.test):
        return {}
    sizes = ("members", "parameters", "milliseconds")
    return {
        f"{answer}_{name}" if name in sizes else f"{answer}_test_{name}": float(value)
        for answer, numbers in answers_in_numbers(final.test).items()
        for name, value in numbers.items()
        if value is not None
    }
