"""Trainings outside the search (finalists, tests), on the same kind of Ray workers as its trials.

A job is a configuration with its own seed, trained to the last epoch. Its files are in a folder of its name;
results of ended jobs are in ``results.json`` beside these folders. So an interrupted stage continues, and
trains nothing twice.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune.search import Searcher

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.files import sha256
from rigsl.training.checkpoint import WEIGHTS
from rigsl.training.held_out import read_held_out
from search.execution.error_guard import StorageFailure
from search.record.learning_curve import METRIC
from search.record.trial_report import NOT_WRITTEN, WORKER_LOST, TrialReport
from search.run_folder import HELD_OUT, MODEL, RESULTS, STATE, read_file, write_file

NO_TRIAL = -1  #: the trial number of a job, which is no trial of the study


@dataclass(frozen=True)
class Job:
    """One training."""

    name: str  #: of its folder: identifies configuration and seed
    label: str  #: in words, for the terminal
    config: RIGSLConfig
    fold: int | None = None  #: of train, which is left out and predicted; None: all of train is trained on
    teacher: Path | None = None  #: file of the teacher of a taught model


@dataclass(frozen=True)
class JobResult:
    """How a job ended."""

    score: float | None  #: best validation weighted F1; None: it failed
    epochs: int
    best_epoch: int
    reason: str = ""  #: of a failure
    weights: str = ""  #: SHA-256 of its checkpoint; empty: it failed, or was not recorded (version 0.1.0)
    held_out: float | None = None  #: weighted F1 on the fold that was left out; None: there was none


def identity(config: RIGSLConfig) -> str:
    """The hash of a configuration without its seed."""
    return config.replace(seed=0).content_hash()


@dataclass(frozen=True)
class Block:
    """The seed of a training, and what it is scored on: a fold of train that it leaves out, or dev."""

    seed: int
    fold: int | None = None  #: counted from 0; None: dev
    folds: int = 0  #: that train is cut into

    @property
    def suffix(self) -> str:
        """Of the name of a training."""
        return f"{self.seed}" if self.fold is None else f"{self.seed}-fold{self.fold + 1}of{self.folds}"

    def __str__(self) -> str:
        return f"seed {self.seed}" if self.fold is None else f"fold {self.fold + 1}, seed {self.seed}"

    def score(self, result: JobResult) -> float | None:
        """The score of a training that has ended; None: it failed."""
        return result.score if self.fold is None else result.held_out


def make_job(label: str, config: RIGSLConfig, block: int | Block, prefix: str = "") -> Job:
    """The training of `config` under `block`, or with a seed; `label`: the configuration in words."""
    block = Block(block) if isinstance(block, int) else block
    return Job(
        f"{prefix}{identity(config)[:12]}-{block.suffix}",
        f"{label}, {block}",
        config.replace(seed=block.seed),
        block.fold,
    )


def make_taught_job(label: str, config: RIGSLConfig, seed: int, teacher: Path, digest: str) -> Job:
    """The training of `config` with `seed`, taught by the teacher in a file, which has this digest."""
    job = make_job(f"{label}, taught", config, seed, f"taught-{digest[:8]}-")
    return dataclasses.replace(job, teacher=teacher)


class Queue(Protocol):
    """Jobs to be trained; what comes next may depend on the results so far."""

    def next(self) -> Job | None:
        """The next job; None: none until another job ends, or none any more."""

    def ended(self, job: Job, result: JobResult) -> None:
        """A job has ended."""


class JobList:
    """A queue of jobs that are known from the start."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = list(jobs)

    def next(self) -> Job | None:
        """The first remaining job."""
        return self._jobs.pop(0) if self._jobs else None

    def ended(self, job: Job, result: JobResult) -> None:
        """Nothing: the list does not depend on results."""


class JobChain:
    """A queue, followed by a second one that is made when all jobs of the first have ended."""

    def __init__(self, first: Queue, make_second: Callable[[], Queue]) -> None:
        self._queue, self._make_second = first, make_second
        self._running = 0  #: number of jobs
        self._in_second = False

    def next(self) -> Job | None:
        """The next job of the first queue, or of the second."""
        job = self._queue.next()
        if job is None and not self._running and not self._in_second:
            self._queue, self._in_second = self._make_second(), True
            job = self._queue.next()
        self._running += job is not None
        return job

    def ended(self, job: Job, result: JobResult) -> None:
        """Pass the result to the queue that the job came from."""
        self._running -= 1
        self._queue.ended(job, result)


class JobResults:
    """The results of the ended jobs in a folder, kept in its ``results.json``.

    A job whose worker was lost has not ended for the next process: its machine may have been at fault. Nor
    has one whose predictions of the fold that it left out are gone: a teacher cannot do without them.

    Raises:
        UserError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        results = _read_results(folder)
        self._results = {name: result for name, result in results.items() if self._has_ended(name, result)}

    def get(self, job: Job) -> JobResult | None:
        """How `job` ended; None if it has not ended."""
        return self.get_by_name(job.name)

    def get_by_name(self, name: str) -> JobResult | None:
        """How the job `name` ended; None if it has not ended."""
        return self._results.get(name)

    def has_weights(self, job: Job) -> bool:
        """Whether the checkpoint of `job`, which has ended, is there, and is the one that it ended with.

        And so are the predictions of the fold that it left out.
        """
        path, result = self._weights(job), self._results.get(job.name)
        if result is None or not path.is_file():
            return False
        if job.fold is not None and not self.held_out_path(job).is_file():
            return False
        return not result.weights or sha256(path) == result.weights

    def drop(self, job: Job) -> None:
        """Forget how `job` ended, so that it is trained again, also after an interruption."""
        if self._results.pop(job.name, None) is not None:
            self._write()
        shutil.rmtree(self.folder / job.name / MODEL, ignore_errors=True)
        self.held_out_path(job).unlink(missing_ok=True)

    def add(self, job: Job, result: JobResult) -> JobResult:
        """Write how `job` ended, with the digest of its checkpoint, and remove its state file.

        Returns:
            `result` with what its files add: the digest, and the score on the fold that it left out.

        Raises:
            UserError: the predictions of the fold that it left out are missing or damaged.
        """
        path = self._weights(job)
        if result.score is not None and job.fold is not None:
            predicted = read_held_out(self.held_out_path(job))
            result = dataclasses.replace(result, held_out=predicted.weighted_f1)
        if result.score is not None and path.is_file():
            result = dataclasses.replace(result, weights=sha256(path))
        self._results[job.name] = result
        self._write()
        (self.folder / job.name / STATE).unlink(missing_ok=True)
        return result

    def held_out_path(self, job: Job) -> Path:
        """The file of what `job` predicts for the fold that it leaves out."""
        return self.folder / job.name / HELD_OUT

    def _has_ended(self, name: str, result: JobResult) -> bool:
        """Whether a recorded job need not run again."""
        kept = result.held_out is None or (self.folder / name / HELD_OUT).is_file()
        return kept and result.reason != WORKER_LOST

    def _weights(self, job: Job) -> Path:
        return self.folder / job.name / MODEL / WEIGHTS

    def _write(self) -> None:
        content = {name: vars(job_result) for name, job_result in self._results.items()}
        write_file(self.folder / RESULTS, json.dumps(content, indent=2) + "\n")


def _read_results(folder: Path) -> dict[str, JobResult]:
    from pydantic import TypeAdapter  # only where it is used: a search starts fast

    path = folder / RESULTS
    remedy = "restore it from a copy, or remove it: then the trainings of the final stage run again"
    try:
        content = read_file(path, dict, run=folder.parent) or {}
        return TypeAdapter(dict[str, JobResult], config={"extra": "forbid"}).validate_python(content)
    except UserError as error:
        raise UserError(f"{str(error).replace('restore it from a copy', remedy)}") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: is damaged; {remedy} ({reason})") from None


class JobWatcher(Protocol):
    """Follows the jobs."""

    def job_started(self, label: str) -> None:
        """A job was handed to a worker."""

    def job_epoch(self, label: str, report: TrialReport) -> None:
        """A job finished an epoch."""

    def job_ended(self, label: str, result: JobResult) -> None:
        """A job has ended."""


class JobSearcher(Searcher):  # type: ignore[misc]
    """Hands the jobs of a queue to Ray, at most one for each worker at a time."""

    def __init__(self, queue: Queue, results: JobResults, workers: int, watcher: JobWatcher) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.queue, self.results, self.workers, self.watcher = queue, results, workers, watcher
        self.live: dict[str, Job] = {}
        self._reasons: dict[str, str] = {}  #: why a worker is about to end, if its last report says so

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job without a result; None while all workers are busy; FINISHED when no job is left."""
        if len(self.live) >= self.workers:
            return None
        while (job := self.queue.next()) is not None:
            if (result := self.results.get(job)) is not None:
                self.queue.ended(job, result)
                continue
            self.live[trial_id] = job
            self.watcher.job_started(job.label)
            return {
                "number": NO_TRIAL,
                "folder": job.name,
                "config": job.config.to_dict(),
                "fold": job.fold,
                "teacher": None if job.teacher is None else str(job.teacher),
            }
        return None if self.live else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch of a job that goes on, or why its worker cannot."""
        report = TrialReport.from_ray(result)
        self._reasons[trial_id] = report.reason
        if trial_id in self.live and report.metrics:
            self.watcher.job_epoch(self.live[trial_id].label, report)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The end of a job; an interrupted one has not ended by itself and gets no result."""
        job, reason = self.live.pop(trial_id, None), self._reasons.pop(trial_id, "")
        report = None if error or result is None else TrialReport.from_ray(result)
        if job is None or (report is not None and not report.ended):
            return
        if report is not None and report.ended == NOT_WRITTEN:
            raise StorageFailure(f"{job.label}: {report.reason}")
        job_result = JobResult(None, 0, 0, reason or WORKER_LOST) if report is None else _result(report)
        job_result = self.results.add(job, job_result)
        self.queue.ended(job, job_result)
        self.watcher.job_ended(job.label, job_result)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the results of ended jobs are in ``results.json``."""


def _result(report: TrialReport) -> JobResult:
    """The result of a job from its last report."""
    if report.failure:
        return JobResult(None, report.epochs or 0, 0, report.failure)
    assert report.epochs is not None
    assert report.best_epoch is not None
    return JobResult(report.score, report.epochs, report.best_epoch)


class InterruptStopper(tune.Stopper):  # type: ignore[misc]
    """Ends Ray's loop when the user interrupts the stage."""

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted

    def __deepcopy__(self, memo: dict[int, Any]) -> InterruptStopper:
        return self  # Ray copies the experiment's parts for every trial

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray snapshots the experiment's parts; no snapshot of it is ever restored

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never: single jobs run to their end."""
        return False

    def stop_all(self) -> bool:
        """Whether the user wants to stop."""
        return self._interrupted()
