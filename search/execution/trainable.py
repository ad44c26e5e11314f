"""One trial in a worker: build the model, train epoch by epoch, report; never take the worker down.

A worker is reused from trial to trial (a new one costs seconds of imports), so a trial's failure is caught
and reported, and nothing of it stays behind. Each trial keeps its own files under ``trials/NNNN/``; Ray's
checkpoints are not used: on a resume the trial goes on from its own state file, whatever Ray has forgotten.
"""

from __future__ import annotations

import gc
import os
import shutil
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune

from rigsl.config import from_mapping
from rigsl.data.corpus import Corpus
from rigsl.errors import first_line
from rigsl.training.checkpoint import write_checkpoint
from rigsl.training.trainer import EpochReport, Training, TrainingDiverged, write_state
from search.execution.background_writer import Saver
from search.record import learning_curve
from search.record.learning_curve import append_epoch, read_curve, write_curve
from search.resources.workers import usable_share
from search.run_folder import CONFIG, ERROR, MODEL, STATE, snapshot_name

#: To copy the state for its writing may take one part in so many of a trial's time.
SAVING_SHARE = 50


@dataclass(frozen=True)
class WorkerOptions:
    """What all trials of a study share."""

    trials: Path  #: absolute: Ray's workers run in a folder of their own
    device: str
    threads: int
    gpu_fraction: float = 0.0  #: share of a GPU's memory that a trial may take
    target: float | None = None  #: score at which a trial, and the study with it, is content
    snapshot_every: int = 0  #: epochs between two states from which other trials can begin; 0: none is kept


class TrialWorker(tune.Trainable):  # type: ignore[misc]
    """Runs the trials that Ray gives to one worker, one after the other."""

    def setup(self, config: dict[str, Any], corpus: Corpus, options: WorkerOptions) -> None:
        """Take the shared parts; the training is built in the first step, where a failure is caught."""
        self.corpus, self.options, self._saver = corpus, options, Saver()
        torch.set_num_threads(options.threads)
        if options.device == "cuda" and 0 < options.gpu_fraction < 1:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(usable_share(options.gpu_fraction, total))
        # Ray shows a worker its own GPUs only, and numbers them as the machine does.
        self._gpu = {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "")} if options.gpu_fraction else {}
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last trial and take the next."""
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """The worker's end: what it has begun to write is written."""
        self._saver.settle()

    def step(self) -> dict[str, Any]:
        """One epoch as a flat report; a failure is a report, too, and the last one."""
        return self._attempt() | self._gpu

    def _attempt(self) -> dict[str, Any]:
        try:
            return self._epoch()
        except TrainingDiverged as error:
            return self._failure("diverged", error)
        except (torch.OutOfMemoryError, MemoryError) as error:
            return self._failure("out of memory", error)
        except Exception as error:
            return self._failure("crashed", error)

    def _begin(self, config: dict[str, Any]) -> None:
        self._saver.settle()
        self._training: Training | None = None
        self._curve: list[dict[str, Any]] = []
        self._told = 0  # epochs of the curve that are reported
        self._saved, self._saving = 0.0, 0.0
        gc.collect()
        gc.freeze()  # else every collection looks at all that PyTorch consists of, a fifth of a second
        if self.options.device == "cuda":
            torch.cuda.empty_cache()
        self._config = from_mapping(config["config"], f"trial {config['number']}")
        self._folder = self.options.trials / config.get("folder", f"{config['number']:04d}")
        self._parent: tuple[int, int] | None = config.get(
            "parent"
        )  # number, epoch: see search/record/lineage.py

    def _epoch(self) -> dict[str, Any]:
        if self._training is None:
            self._training = self._build()
        if self._told == len(self._curve):
            self._write(self._training.step())
        self._told += 1
        return self._report()

    def _build(self) -> Training:
        self._folder.mkdir(parents=True, exist_ok=True)
        if (self._folder / STATE).exists():
            training = Training.load(self._folder / STATE, self.corpus, device=self.options.device)
            if training.config == self._config:
                self._curve = read_curve(self._folder)[: training.epoch]
                write_curve(self._folder, self._curve)
                # The last report may have been lost with the process that should have heard it.
                self._told = max(0, training.epoch - 1)
                return training
        (self._folder / CONFIG).write_text(self._config.to_toml(), encoding="utf-8")
        if self._parent is not None:
            return self._continue_parent(*self._parent)
        write_curve(self._folder, [])
        return Training(self._config, self.corpus, device=self.options.device)

    def _continue_parent(self, parent: int, epoch: int) -> Training:
        """Another trial's training, to go on under this trial's configuration.

        Its epochs are reported first, one by one: this trial's curve begins with them, at no time of its own.
        """
        folder = self.options.trials / f"{parent:04d}"
        training = Training.load(
            folder / snapshot_name(epoch), self.corpus, device=self.options.device, config=self._config
        )
        self._curve = [line | {"epoch_seconds": 0.0} for line in read_curve(folder)[:epoch]]
        write_curve(self._folder, self._curve)
        write_checkpoint(self._folder / MODEL, *training.best_weights(), self.corpus.schema)  # may stay best
        return training

    def _write(self, report: EpochReport) -> None:
        """The trial's own files: curve, best model, and the state from which it can go on."""
        assert self._training is not None
        if report.improved:
            best, schema = self._training.best_weights(), self.corpus.schema
            self._saver.submit(MODEL, partial(write_checkpoint, self._folder / MODEL, *best, schema))
        self._curve.append({"epoch": report.epoch, "time": round(time.time(), 3), **report.metrics()})
        append_epoch(self._folder, self._curve[-1])
        every = self.options.snapshot_every
        snapshot = every > 0 and report.epoch % every == 0 and not report.done
        start = time.monotonic()
        due = start - self._saved >= SAVING_SHARE * self._saving and not self._saver.busy(STATE)
        if snapshot or due:
            state = self._training.snapshot()
            self._saved = time.monotonic()
            self._saving = self._saved - start
            self._saver.submit(STATE, partial(write_state, state, self._folder / STATE))
        if snapshot:  # another trial may want it at once
            self._saver.wait()
            _same_file(self._folder / STATE, self._folder / snapshot_name(report.epoch))

    def _report(self) -> dict[str, Any]:
        """The newest epoch that is told."""
        assert self._training is not None
        found = learning_curve.report(self._curve[: self._told])
        content = self.options.target is not None and found[learning_curve.METRIC] >= self.options.target
        done = content or (self._told == len(self._curve) and self._training.done)
        if done:
            self._saver.wait()
        return found | {"done": done, "ended": "by itself" if done else ""}

    def _failure(self, kind: str, error: BaseException) -> dict[str, Any]:
        epochs = len(self._curve)
        self._saver.settle()
        self._training = None  # a model that ran out of memory must not hold it until the next trial
        gc.collect()
        if self._folder.is_dir():
            (self._folder / ERROR).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        first = first_line(error, default="no message")
        named = first if kind == "diverged" else f"{type(error).__name__}: {first}"
        return {"done": True, "ended": "failed", "reason": f"{kind}: {named}"[:300], "epochs": epochs}


def _same_file(path: Path, other: Path) -> None:
    """Let `other` hold what `path` holds now; a copy where the file system has no hard links."""
    other.unlink(missing_ok=True)
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)
