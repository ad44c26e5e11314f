"""Trainings that are no trials: finalists and final tests, on the same kind of Ray workers as the search.

A job is a configuration with a seed of its own, trained to its last epoch. Its files lie in a folder of its
name, its end in ``results.json`` beside them: a stage that was interrupted goes on, and trains nothing twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune.search import Searcher

from rigsl.config import RIGSLConfig
from rigsl.files import write_text
from search.record.learning_curve import METRIC
from search.run_folder import RESULTS, STATE

NO_TRIAL = -1  #: a job's number among the trials


@dataclass(frozen=True)
class Job:
    """One training."""

    name: str  #: of its folder: tells configurations and seeds apart
    label: str  #: in words, for the terminal
    config: RIGSLConfig


@dataclass(frozen=True)
class Result:
    """How a job ended."""

    score: float | None  #: best validation weighted F1; None: it failed
    epochs: int
    best_epoch: int
    reason: str = ""  #: of a failure


class Queue(Protocol):
    """What is to be trained, decided while the results come in."""

    def next(self) -> Job | None:
        """The next job; None: none now, or none any more."""

    def ended(self, job: Job, result: Result) -> None:
        """A job has ended."""


class Listed:
    """A queue of jobs that are all known."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = list(jobs)

    def next(self) -> Job | None:
        """The first that is left."""
        return self._jobs.pop(0) if self._jobs else None

    def ended(self, job: Job, result: Result) -> None:
        """Changes nothing here."""


class Then:
    """One queue, and when all of its jobs have ended, another: what its jobs are follows from the first."""

    def __init__(self, first: Queue, second: Callable[[], Queue]) -> None:
        self._queue, self._second, self._out = first, second, 0
        self._last = False

    def next(self) -> Job | None:
        """The next of the first queue, or of the second."""
        job = self._queue.next()
        if job is None and not self._out and not self._last:
            self._queue, self._last = self._second(), True
            job = self._queue.next()
        self._out += job is not None
        return job

    def ended(self, job: Job, result: Result) -> None:
        """Told to the queue whose job it was."""
        self._out -= 1
        self._queue.ended(job, result)


class Results:
    """The ends of the jobs in a folder, kept in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / RESULTS
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self._ended = {name: Result(**result) for name, result in kept.items()}

    def get(self, job: Job) -> Result | None:
        """How `job` ended; None: it has not."""
        return self._ended.get(job.name)

    def drop(self, job: Job) -> None:
        """Forget how `job` ended: it is trained again."""
        self._ended.pop(job.name, None)

    def add(self, job: Job, result: Result) -> None:
        """Keep how `job` ended, and drop the state from which it could have gone on."""
        self._ended[job.name] = result
        kept = {name: vars(one) for name, one in self._ended.items()}
        write_text(self.folder / RESULTS, json.dumps(kept, indent=2) + "\n")
        (self.folder / job.name / STATE).unlink(missing_ok=True)


class JobWatcher(Protocol):
    """Follows the jobs on the terminal."""

    def job_epoch(self, label: str, metrics: Mapping[str, float]) -> None:
        """A job finished an epoch."""

    def job_ended(self, label: str, result: Result) -> None:
        """A job has ended."""


class JobSearcher(Searcher):  # type: ignore[misc]
    """Hands the jobs of a queue to Ray, no more at a time than there are workers."""

    def __init__(self, queue: Queue, results: Results, workers: int, watcher: JobWatcher) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.queue, self.results, self.workers, self.watcher = queue, results, workers, watcher
        self.live: dict[str, Job] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job that has not ended; None while the workers are busy; FINISHED when none is left."""
        if len(self.live) >= self.workers:
            return None
        while (job := self.queue.next()) is not None:
            if (known := self.results.get(job)) is not None:
                self.queue.ended(job, known)
                continue
            self.live[trial_id] = job
            self.watcher.job_epoch(job.label, {})
            return {"number": NO_TRIAL, "folder": job.name, "config": job.config.to_dict()}
        return None if self.live else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch of a job that goes on."""
        metrics = {name[8:]: entry for name, entry in result.items() if name.startswith("metrics/")}
        if trial_id in self.live and metrics:
            self.watcher.job_epoch(self.live[trial_id].label, {"epoch": result["epoch"], **metrics})

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The end of a job; one that was interrupted has none."""
        job = self.live.pop(trial_id, None)
        if job is None or not (error or result is None or result.get("ended")):
            return
        ended = _result(None if error else result)
        self.results.add(job, ended)
        self.queue.ended(job, ended)
        self.watcher.job_ended(job.label, ended)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: what has ended is in ``results.json``."""


def _result(report: Mapping[str, Any] | None) -> Result:
    if report is None:
        return Result(None, 0, 0, "worker lost twice (killed, out of memory, or its machine is gone)")
    score = float(report.get(METRIC, math.nan))
    if report["ended"] == "failed" or not math.isfinite(score):
        reason = str(report.get("reason", "diverged: its score is not a number"))
        return Result(None, int(report.get("epochs", 0)), 0, reason)
    return Result(score, int(report["epochs"]), int(report["best_epoch"]))


class Ends(tune.Stopper):  # type: ignore[misc]
    """Ends a stage where the user interrupts it."""

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted

    def __deepcopy__(self, memo: dict[int, Any]) -> Ends:
        return self  # Ray copies the experiment's parts for every trial

    def __getstate__(self) -> dict[str, Any]:
        return {}  # and snapshots them; no snapshot is ever restored

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never: single jobs run to their end."""
        return False

    def stop_all(self) -> bool:
        """Whether the user wants to stop."""
        return self._interrupted()
