"""One trial in a Ray worker: build the model, train it epoch by epoch, and report every epoch.

A worker is reused from trial to trial (a new one costs seconds of imports). So a trial's failure is caught
and reported, and nothing of the trial stays behind. Only a worker that can no longer use its GPU reports why
and ends: Ray then tries the trial once more, in a new worker.

Each trial keeps its own files under ``trials/NNNN/``. Ray's checkpoints are not used: on a resume the trial
continues from its own state file, whatever Ray has forgotten.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray import tune
from torch import Tensor

from rigsl.config import RIGSLConfig, from_mapping
from rigsl.data.corpus import Corpus, Schema
from rigsl.device import cuda_works, is_out_of_memory
from rigsl.errors import UserError, first_line
from rigsl.files import flush_to_disk, is_storage_error, remove_leftovers
from rigsl.redaction import redacted
from rigsl.training.checkpoint import write_checkpoint
from rigsl.training.held_out import write_held_out
from rigsl.training.teacher import Teacher, TeacherRecord
from rigsl.training.trainer import EpochReport, Training, TrainingDiverged, write_state
from search.execution.background_writer import BackgroundWriter
from search.record.learning_curve import Line, append_epoch, read_curve, write_curve
from search.record.trial_report import BY_ITSELF, FAILED, NOT_WRITTEN, TrialReport
from search.resources.workers import usable_share
from search.run_folder import CONFIG, CURVE, ERROR, HELD_OUT, MODEL, STATE, snapshot_name, write_file

#: Checkpoint overhead (copying the state for the background writer) is capped at 1/50 of a trial's time.
SAVING_SHARE = 50
#: Longest reason of a failure, in characters.
_MAX_REASON = 300


@dataclass(frozen=True)
class WorkerOptions:
    """What all trials of a study share."""

    trials: Path  #: folder of the trials' folders; absolute, as Ray's workers run in a folder of their own
    device: str
    threads: int
    gpu_fraction: float = 0.0  #: share of a GPU's memory that a trial may take
    gpu_memory: int = 0  #: and its limit in bytes, from what was free when the search began; 0: unknown
    target: float | None = None  #: score at which a trial stops training, and the study ends
    #: the fold of every dialogue of the corpus, for trainings that leave one out [n]; None: there are none
    folds: NDArray[np.int64] | None = None
    validation_fold: int | None = None  #: every trial leaves it out and is validated on it, beside dev
    snapshot_every: int = 0  #: epochs between two states from which other trials can start; 0: none is kept


class TrialWorker(tune.Trainable):  # type: ignore[misc]
    """Runs the trials that Ray gives to one worker, one after the other."""

    def setup(self, config: dict[str, Any], corpus: Corpus, options: WorkerOptions) -> None:
        """Take the shared parts; the training is built in the first step, where a failure is caught."""
        self.corpus, self.options, self._writer = corpus, options, BackgroundWriter()
        self._broken = False  # whether the GPU cannot be used any more
        torch.set_num_threads(options.threads)
        # Ray shows a worker its own GPUs only, and numbers them as the machine does.
        self._gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "") if options.gpu_fraction else ""
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last trial and take the next; a worker without a usable GPU ends instead.

        Its GPU can break between two trials: the error of a kernel comes with a later call.
        """
        if self._broken or not self._gpu_works():
            _end_process()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """The worker ends: wait for the background writer."""
        self._writer.settle()

    def step(self) -> dict[str, Any]:
        """One epoch, as the flat dict of a `TrialReport`; a failure is a report too, and the last one.

        After the report of a broken GPU the worker ends.
        """
        if self._broken:
            _end_process()
        return dataclasses.replace(self._attempt(), gpu=self._gpu).to_ray()

    def _attempt(self) -> TrialReport:
        try:
            return self._epoch()
        except TrainingDiverged as error:
            return self._failure("diverged", error)
        except Exception as error:
            if is_storage_error(error) or not self.options.trials.is_dir():  # or its share is away
                return self._failure("storage", error, ended=NOT_WRITTEN)
            self._broken = not self._gpu_works()
            if self._broken:
                return self._failure("crashed", error, ended="")
            return self._failure("out of memory" if is_out_of_memory(error) else "crashed", error)

    def _gpu_works(self) -> bool:
        return self.options.device != "cuda" or cuda_works()

    def _begin(self, config: dict[str, Any]) -> None:
        self._writer.settle()
        self._training: Training | None = None
        self._curve: list[Line] = []
        self._reported = 0  # epochs of the curve that are reported
        self._saved_at, self._saving_seconds = 0.0, 0.0  # of the last state
        gc.collect()
        gc.freeze()  # else every collection looks at all that PyTorch consists of, a fifth of a second
        if self.options.device == "cuda":
            torch.cuda.empty_cache()
        self._config = from_mapping(config["config"], f"trial {config['number']}")
        self._folder = self.options.trials / config.get("folder", f"{config['number']:04d}")
        self._validated_fold = self.options.validation_fold
        self._fold: int | None = config.get("fold", self._validated_fold)  # of train, which is left out
        self._taught_by: str | None = config.get("teacher")  # file of its teacher
        #: (parent, epoch) from which it starts; see search/record/lineage.py
        self._parent: tuple[int, int] | None = config.get("parent")

    def _epoch(self) -> TrialReport:
        if self._training is None:
            self._training = self._build()
        if self._reported == len(self._curve):
            self._write(self._training.step())
        self._reported += 1
        return self._report()

    def _build(self) -> Training:
        """The training of the trial: from its own state, from its parent's state, or a new one.

        A damaged state costs the epochs that it held, and not the trial: they come out the same again.
        """
        self._limit_memory()
        self._folder.mkdir(exist_ok=True)
        remove_leftovers(self._folder)
        if (training := self._saved()) is not None:
            lines = read_curve(self._folder)[: training.epoch]
            same = (
                training.config == self._config
                and np.array_equal(training.held_out, self._held_out())
                and training.validates_held_out == (self._validated_fold is not None)
            )
            if same and len(lines) == training.epoch:
                # The best model on the disk may be older than the state, or younger: written before a kill.
                self._model_writer(training)()
                self._curve = lines
                write_curve(self._folder, self._curve)
                # The last report may have been lost with the driver's process.
                self._reported = max(0, training.epoch - 1)
                return training
        write_file(self._folder / CONFIG, self._config.to_toml())
        if self._parent is not None:
            return self._continue_parent(*self._parent)
        write_curve(self._folder, [])
        return Training(
            self._config,
            self.corpus,
            device=self.options.device,
            held_out=self._held_out(),
            validate_held_out=self._validated_fold is not None,
            teacher=self._teacher(),
        )

    def _saved(self) -> Training | None:
        """The training in the state file; None: there is none, or it is damaged, or of another training."""
        path, teacher = self._folder / STATE, self._teacher()
        if not path.exists():
            return None
        try:
            return Training.load(path, self.corpus, device=self.options.device, teacher=teacher)
        except UserError as error:
            if is_storage_error(error):  # it may be whole
                raise
            return None

    def _teacher(self) -> Teacher | None:
        return None if self._taught_by is None else Teacher.load(self._taught_by)

    def _held_out(self) -> NDArray[np.int64]:
        """The dialogues that are left out of train."""
        if self._fold is None:
            return np.zeros(0, dtype=np.int64)
        assert self.options.folds is not None
        return np.flatnonzero(self.options.folds == self._fold)

    def _predict_held_out(self) -> None:
        """Write what the best epoch predicts for the fold that was left out, unless it was validated on."""
        assert self._training is not None
        if self._fold is not None and self._validated_fold is None:
            predicted = self._training.evaluate(self._held_out(), self._training.best_model())
            write_held_out(self._folder / HELD_OUT, predicted)

    def _limit_memory(self) -> None:
        """Let PyTorch allocate no more of the GPU's memory than this worker's share."""
        share = self.options.gpu_fraction
        if self.options.device == "cuda" and 0 < share < 1:
            total = torch.cuda.get_device_properties(0).total_memory
            part = usable_share(share, total)
            if self.options.gpu_memory:
                part = min(part, self.options.gpu_memory / total)
            torch.cuda.set_per_process_memory_fraction(part)

    def _continue_parent(self, parent: int, epoch: int) -> Training:
        """Another trial's training after `epoch`, to continue with this trial's configuration.

        Its epochs are reported first, one by one: this trial's curve begins with them, without duration.
        """
        folder = self.options.trials / f"{parent:04d}"
        training = Training.load(
            folder / snapshot_name(epoch), self.corpus, device=self.options.device, config=self._config
        )
        self._curve = [line | {"epoch_seconds": 0.0} for line in read_curve(folder)[:epoch]]
        write_curve(self._folder, self._curve)
        self._model_writer(training)()  # it may stay the best
        return training

    def _write(self, report: EpochReport) -> None:
        """Write the trial's own files: curve, best model, and the state from which it can continue."""
        assert self._training is not None
        if report.improved:
            self._writer.submit(MODEL, self._model_writer(self._training))
        self._curve.append({"epoch": report.epoch, "time": round(time.time(), 3), **report.metrics()})
        append_epoch(self._folder, self._curve[-1])
        every = self.options.snapshot_every
        snapshot = every > 0 and report.epoch % every == 0 and not report.done
        start = time.monotonic()
        due = start - self._saved_at >= SAVING_SHARE * self._saving_seconds and not self._writer.busy(STATE)
        if snapshot or due:
            state = self._training.snapshot()
            self._saved_at = time.monotonic()
            self._saving_seconds = self._saved_at - start
            self._writer.submit(STATE, partial(_write_state, state, self._folder))
        if snapshot:  # another trial may start from it at once
            self._writer.wait()
            _same_file(self._folder / STATE, self._folder / snapshot_name(report.epoch))

    def _model_writer(self, training: Training) -> Callable[[], None]:
        """Writes the best model of a training so far, which later epochs do not change."""
        teacher = None if training.teacher is None else training.teacher.record
        best, schema = training.best_weights(), self.corpus.schema
        return partial(_write_model, self._folder, *best, schema, teacher)

    def _report(self) -> TrialReport:
        """The newest reported epoch."""
        assert self._training is not None
        report = TrialReport.from_curve(self._curve[: self._reported])
        at_target = self.options.target is not None and report.score >= self.options.target
        if at_target or (self._reported == len(self._curve) and self._training.done):
            self._writer.wait()
            self._predict_held_out()
            return dataclasses.replace(report, ended=BY_ITSELF)
        return report

    def _failure(self, kind: str, error: BaseException, ended: str = FAILED) -> TrialReport:
        epochs = len(self._curve)
        self._writer.settle()
        self._training = None  # a model that ran out of memory must not hold it until the next trial
        gc.collect()
        with contextlib.suppress(OSError):
            if ended == FAILED and self._folder.is_dir():
                write_file(self._folder / ERROR, redacted("".join(traceback.format_exception(error))))
        message = first_line(error, default="no message")
        detail = message if kind == "diverged" else f"{type(error).__name__}: {message}"
        return TrialReport(epochs=epochs, ended=ended, reason=f"{kind}: {detail}"[:_MAX_REASON])


def _end_process() -> None:
    """End this worker at once, as if it was killed; Ray starts another one."""
    os._exit(1)


def _write_model(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: RIGSLConfig,
    schema: Schema,
    teacher: TeacherRecord | None,
) -> None:
    """Write the best model of the trial in `folder`, which is there: not in place of a share that is away."""
    write_checkpoint(folder / MODEL, weights, config, schema, teacher=teacher, parents=False)


def _write_state(state: dict[str, Any], folder: Path) -> None:
    """Write a state after the curve that belongs to it: a power cut leaves no state without its curve."""
    flush_to_disk(folder / CURVE)
    write_state(state, folder / STATE)


def _same_file(path: Path, other: Path) -> None:
    """Make `other` a hard link to `path`; a copy where the file system has no hard links."""
    other.unlink(missing_ok=True)
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)
