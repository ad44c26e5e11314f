"""Real trainings, each in a file of its own: what has ended is not trained again.

A job is one of `search.confirm.trainings`: a configuration with its seed, all of train or all but a fold, and
perhaps a teacher. It is trained by `rigsl.training.fit` to its last epoch, without the labels of test. Its
file has what the best epoch on dev predicts for the fold and for test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.efficiency.curve_table import machine_in_words, meld
from rigsl.data.corpus import Corpus
from rigsl.data.folds import train_folds
from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.training.evaluation import predict
from rigsl.training.fit import fit
from rigsl.training.scores import confusion_matrix, weighted_f1
from rigsl.training.teacher import Teacher
from rigsl.training.trainer import TrainingDiverged
from search.confirm.trainings import Job, JobResult, Queue

FOLDS, FOLD_SEED = 3, 0


@dataclass(frozen=True, eq=False)
class RealTraining:
    """How a training ended, and what its best epoch on dev predicts; arrays are empty if it diverged.

    machine: processor and version of PyTorch; held_out: log-probabilities for the fold that it left out,
    empty without a fold [U, classes]; rows: of these utterances in the corpus [U]; test: log-probabilities
    for test [utterances of test, classes].
    """

    result: JobResult
    machine: str
    held_out: NDArray[np.float32]
    rows: NDArray[np.int64]
    test: NDArray[np.float32]


@cache
def corpus() -> Corpus:
    """The corpus of the tables; the labels of test are hidden."""
    return meld().without_test_labels()


@cache
def folds() -> NDArray[np.int64]:
    """The fold of every training dialogue."""
    return train_folds(corpus(), FOLDS, FOLD_SEED)


def path_of(folder: Path, job: Job) -> Path:
    """The file of a training."""
    return folder / f"{job.name}.safetensors"


def train(folder: Path, job: Job) -> None:
    """Train, and write the file."""
    torch.set_num_threads(1)
    held_out = np.zeros(0, np.int64) if job.fold is None else np.flatnonzero(folds() == job.fold)
    teacher = None if job.teacher is None else Teacher.load(job.teacher)
    rows, log_prob = corpus().rows(held_out), np.zeros((0, len(corpus().classes)), np.float32)
    content: dict[str, Any] = {"score": None, "epochs": 0, "best_epoch": 0, "reason": "", "held_out": None}
    content["machine"] = machine_in_words("cpu")
    arrays = {"rows": rows[:0], "held_out": log_prob, "test": log_prob}
    try:
        fitted = fit(job.config, corpus(), held_out=held_out, teacher=teacher)
    except TrainingDiverged as error:
        content["reason"] = str(error)
    else:
        best = fitted.best
        content |= {"score": best.validation.weighted_f1, "epochs": len(fitted.history)}
        content["best_epoch"] = best.epoch
        log_prob = predict(fitted.model, corpus())
        arrays = {"rows": rows, "held_out": log_prob[rows], "test": log_prob[tested_rows()]}
        if len(rows):
            content["held_out"] = f1(log_prob[rows], corpus().labels[rows])
    write_arrays(path_of(folder, job), arrays, content)


def tested_rows() -> NDArray[np.int64]:
    """The utterances of test in the corpus."""
    return corpus().rows(corpus().dialogues("test"))


def f1(scores: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """Weighted F1 of the classes with the highest scores. Shapes: scores [U, classes], labels [U]"""
    return float(weighted_f1(confusion_matrix(labels, scores.argmax(axis=1), scores.shape[1])))


def read(folder: Path, job: Job) -> RealTraining:
    """The training of a job that has ended."""
    arrays, content = map_arrays(path_of(folder, job))
    machine = str(content.pop("machine"))
    return RealTraining(JobResult(**content), machine, arrays["held_out"], arrays["rows"], arrays["test"])


def run(
    queues: Sequence[Queue], folder: Path, pool: Executor, on_end: Callable[[], object] = lambda: None
) -> None:
    """Train the jobs of all queues in a pool; files that are there are not trained again.

    Args:
        on_end: called after each training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    running: dict[Future[None], tuple[Queue, Job]] = {}
    try:
        for queue in queues:
            _submit(queue, folder, pool, running)
        while running:
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                queue, job = running.pop(future)
                future.result()
                queue.ended(job, read(folder, job).result)
                on_end()
                _submit(queue, folder, pool, running)
    except BaseException:  # an interruption, too: start no further training
        pool.shutdown(cancel_futures=True)
        raise


def _submit(
    queue: Queue, folder: Path, pool: Executor, running: dict[Future[None], tuple[Queue, Job]]
) -> None:
    """Start the jobs that the queue has now."""
    while (job := queue.next()) is not None:
        if path_of(folder, job).exists():
            queue.ended(job, read(folder, job).result)
        else:
            running[pool.submit(train, folder, job)] = queue, job
