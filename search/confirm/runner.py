"""Runs the trainings of the final stage on Ray and finds the checkpoints that they leave."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.training.held_out import HeldOut, read_held_out
from search.confirm.trainings import (
    Block,
    InterruptStopper,
    Job,
    JobResult,
    JobResults,
    JobSearcher,
    JobWatcher,
    Queue,
    make_job,
)
from search.execution.tune_run import run_on_ray
from search.resources.workers import Workers
from search.run_folder import MODEL, SCRATCH, TRAININGS


class TrainingRunner:
    """The trainings of the final stage of one study, in ``final/`` of its run folder.

    Args:
        run: the run folder.
        workers: on which the trainings run.
        ray_address: of the cluster; None: a private Ray instance.
        watcher: follows the trainings.
        interrupted: whether the user wants to stop.
        folds: the fold of every dialogue of the corpus [n]; None: no training leaves one out.
    """

    def __init__(
        self,
        run: Path,
        workers: Workers,
        ray_address: str | None,
        watcher: JobWatcher,
        interrupted: Callable[[], bool],
        folds: NDArray[np.int64] | None = None,
    ) -> None:
        self.run, self.folder, self.folds = run, run / TRAININGS, folds
        self.workers, self.ray_address = workers, ray_address
        self.watcher, self.interrupted = watcher, interrupted
        self.results = JobResults(self.folder)

    def train(self, queue: Queue, corpus: Corpus) -> None:
        """Train the jobs of `queue` until there are no more, or the user interrupts."""
        self.folder.mkdir(exist_ok=True)
        run_on_ray(
            corpus,
            JobSearcher(queue, self.results, self.workers.count, self.watcher),
            workers=self.workers,
            stopper=InterruptStopper(self.interrupted),
            trials=self.folder,
            scratch=self.run / SCRATCH,
            ray_address=self.ray_address,
            folds=self.folds,
        )

    def model(self, job: Job) -> Path:
        """The folder of the checkpoint of `job`."""
        return self.folder / job.name / MODEL

    def checkpoints(self, config: RIGSLConfig, seeds: Iterable[int]) -> dict[int, Path]:
        """The checkpoints of the trainings of `config` that did not fail: seed -> folder."""
        jobs = {seed: make_job("", config, seed) for seed in seeds}
        return {seed: self.model(job) for seed, job in jobs.items() if self.scores([job])}

    def held_out(self, jobs: Iterable[Job]) -> list[HeldOut]:
        """What those `jobs` that ended well predict for the folds that they left out."""
        return [read_held_out(self.results.held_out_path(job)) for job in jobs if self.scores([job])]

    def scores(self, jobs: Iterable[Job]) -> list[float]:
        """The validation scores of those `jobs` that ended without a failure."""
        results = [self.results.get(job) for job in jobs]
        return [result.score for result in results if result is not None and result.score is not None]

    def checkpoint_scores(self, checkpoints: Iterable[Path]) -> list[float]:
        """The validation scores of the trainings that left `checkpoints`; those of trials are left out."""
        names = dict.fromkeys(path.parent.name for path in checkpoints)
        results = [self.results.get_by_name(name) for name in names]
        return [result.score for result in results if result is not None and result.score is not None]

    def weights(self, jobs: Iterable[Job]) -> tuple[str, ...]:
        """SHA-256 of the checkpoints of those `jobs` that ended well, as they were written."""
        results = [self.results.get(job) for job in jobs if self.scores([job])]
        return tuple(result.weights for result in results if result is not None)

    def forget(self, jobs: Iterable[Job]) -> None:
        """Forget how `jobs` ended, so that they are trained again."""
        for job in jobs:
            self.results.drop(job)

    def without_weights(self, jobs: Iterable[Job]) -> list[Job]:
        """Those `jobs` that ended well, but whose checkpoint is gone or is another one."""
        return [job for job in jobs if self.scores([job]) and not self.results.has_weights(job)]

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """The `jobs` that have not ended."""
        return [job for job in jobs if self.results.get(job) is None]

    def best(self, config: RIGSLConfig, blocks: Iterable[Block]) -> tuple[Block, JobResult] | None:
        """Block and result of the best training of `config` on dev; None if all failed.

        Of equal ones the first in the order of `blocks`.
        """
        results = {block: self.results.get(make_job("", config, block)) for block in blocks}
        scored = {
            block: result
            for block, result in results.items()
            if result is not None and result.score is not None
        }
        return max(scored.items(), key=lambda item: item[1].score or 0.0, default=None)

    def clean(self, keep: Collection[Path]) -> None:
        """Remove the checkpoints of all trainings but the folders `keep`."""
        for path in self.folder.glob(f"*/{MODEL}"):
            if path not in keep:
                shutil.rmtree(path, ignore_errors=True)
