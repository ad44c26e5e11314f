"""One training of a configuration, with its predictions after every epoch, in a file of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.selection.quarters import WHOLE, Part, corpus
from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.training.teacher import Teacher
from rigsl.training.trainer import Training, TrainingDiverged
from search.run_folder import ROOT
from search.space.space import Space, read_space

SPACE = ROOT / "benchmarks" / "selection" / "space.toml"
#: Folders of the finished trainings; predictions of test are in a folder of their own.
TRAININGS, SEALED = ROOT / "runs" / "selection" / "trainings", ROOT / "runs" / "selection" / "sealed"


@dataclass(frozen=True)
class SelectionTraining:
    """Configuration `number` with `seed`, trained on `part`."""

    number: int
    params: dict[str, Any]
    part: Part
    seed: int
    teacher: Teacher | None = None  #: of the utterances of `part`

    @property
    def name(self) -> str:
        """The name of its file."""
        taught = ""
        if self.teacher is not None:
            taught = f"_taught_{self.teacher.weight:g}_{self.teacher.temperature:g}"
        return f"{self.number:04d}_{self.part.name}_{self.seed}{taught}.safetensors"

    @property
    def path(self) -> Path:
        """The file of its predictions."""
        return TRAININGS / self.name

    @property
    def sealed_path(self) -> Path:
        """The file of its predictions of test, where it learned from all of train."""
        return SEALED / self.name


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a training predicted, epoch by epoch."""

    log_prob: NDArray[np.float16]  #: [epochs, utterances, classes]
    rows: NDArray[np.int64]  #: of the utterances in the corpus, ascending
    seconds: float  #: of one core


def space() -> Space:
    """The space of all configurations of this folder."""
    return read_space(SPACE)


def train(job: SelectionTraining, on_steps: Callable[[int], object]) -> None:
    """Train to the last epoch and write the predictions; a training that diverges has fewer epochs."""
    config = space().config(job.params, seed=job.seed)
    held_out = job.part.held_out()
    training = Training(config, corpus(), held_out=held_out, teacher=job.teacher)
    predicted = np.concatenate([held_out, corpus().dialogues("dev")])
    tested = corpus().dialogues("test") if job.part == WHOLE else predicted[:0]
    kept: list[NDArray[np.float16]] = []
    sealed: list[NDArray[np.float16]] = []
    rows = test_rows = np.zeros(0, dtype=np.int64)
    start = time.process_time()
    seconds = 0.0
    while not training.done:
        try:
            training.step()
        except TrainingDiverged:
            break
        seconds = time.process_time() - start
        evaluation = training.evaluate(predicted)
        rows = evaluation.rows
        kept.append(evaluation.log_prob.astype(np.float16))
        if len(tested):
            evaluation = training.evaluate(tested)
            test_rows = evaluation.rows
            sealed.append(evaluation.log_prob.astype(np.float16))
    content = {"number": job.number, "seed": job.seed, "part": job.part.name, "params": job.params}
    if job.teacher is not None:
        content |= {"weight": job.teacher.weight, "temperature": job.teacher.temperature}
    if len(tested):
        _write(job.sealed_path, sealed, test_rows, content)
    _write(job.path, kept, rows, content | {"seconds": seconds})
    on_steps(1)


def _write(
    path: Path, log_prob: list[NDArray[np.float16]], rows: NDArray[np.int64], content: dict[str, Any]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    empty = np.zeros((0, len(rows), len(corpus().classes)), dtype=np.float16)
    write_arrays(path, {"log_prob": np.stack(log_prob) if log_prob else empty, "rows": rows}, content)


def read(path: Path) -> Predictions:
    """The predictions in a file."""
    arrays, content = map_arrays(path)
    return Predictions(arrays["log_prob"], arrays["rows"], float(content.get("seconds", 0.0)))


def params_of(number: int) -> dict[str, Any] | None:
    """The parameters of a configuration that was trained on all of train; None if it was not."""
    path = SelectionTraining(number, {}, WHOLE, 0).path
    return dict(map_arrays(path)[1]["params"]) if path.exists() else None
