"""One trial in a worker: build the model, train epoch by epoch, report; never take the worker down.

A worker is reused from trial to trial (a new one costs seconds of imports), so a trial's failure is caught
and reported, and nothing of it stays behind. Each trial keeps its own files under ``trials/NNNN/``; Ray's
checkpoints are not used: on a resume the trial goes on from its own state file, whatever Ray has forgotten.
"""

from __future__ import annotations

import gc
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune

from rigsl.checkpoint import save_checkpoint
from rigsl.config import from_mapping
from rigsl.data.corpus import Corpus
from rigsl.training import EpochReport, Training, TrainingDiverged
from search import curve
from search.curve import append_epoch, read_curve, write_curve

STATE, MODEL, ERROR = "state.pt", "model", "error.txt"
#: Saving the state may take one part in so many of a trial's time.
SAVING_SHARE = 10


@dataclass(frozen=True)
class WorkerOptions:
    """What all trials of a study share."""

    trials: Path  #: absolute: Ray's workers run in a folder of their own
    device: str
    threads: int
    gpu_fraction: float = 0.0  #: share of a GPU's memory that a trial may take
    target: float | None = None  #: score at which a trial, and the study with it, is content


class TrialWorker(tune.Trainable):  # type: ignore[misc]
    """Runs the trials that Ray gives to one worker, one after the other."""

    def setup(self, config: dict[str, Any], corpus: Corpus, options: WorkerOptions) -> None:
        """Take the shared parts; the training is built in the first step, where a failure is caught."""
        self.corpus, self.options = corpus, options
        torch.set_num_threads(options.threads)
        if options.device == "cuda" and 0 < options.gpu_fraction < 1:
            torch.cuda.set_per_process_memory_fraction(options.gpu_fraction)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the last trial and take the next."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """One epoch as a flat report; a failure is a report, too, and the last one."""
        try:
            return self._epoch()
        except TrainingDiverged as error:
            return self._failure("diverged", error)
        except (torch.OutOfMemoryError, MemoryError) as error:
            return self._failure("out of memory", error)
        except Exception as error:
            return self._failure("crashed", error)

    def _begin(self, config: dict[str, Any]) -> None:
        self._training: Training | None = None
        self._curve: list[dict[str, Any]] = []
        self._saved, self._saving = 0.0, 0.0
        gc.collect()
        if self.options.device == "cuda":
            torch.cuda.empty_cache()
        self._config = from_mapping(config["config"], f"trial {config['number']}")
        self._folder = self.options.trials / f"{config['number']:04d}"

    def _epoch(self) -> dict[str, Any]:
        if self._training is None:
            self._training = self._build()
            if self._training.last_report is not None:
                # The report of this epoch may have been lost with the process that should have heard it.
                return self._report(self._training.last_report)
        report = self._training.step()
        self._write(report)
        return self._report(report)

    def _build(self) -> Training:
        self._folder.mkdir(parents=True, exist_ok=True)
        if (self._folder / STATE).exists():
            training = Training.load(self._folder / STATE, self.corpus, device=self.options.device)
            if training.config == self._config:
                self._curve = read_curve(self._folder)[: training.epoch]
                write_curve(self._folder, self._curve)
                return training
        (self._folder / "config.toml").write_text(self._config.to_toml(), encoding="utf-8")
        write_curve(self._folder, [])
        return Training(self._config, self.corpus, device=self.options.device)

    def _write(self, report: EpochReport) -> None:
        """The trial's own files: curve, best model, and the state from which it can go on."""
        assert self._training is not None
        if report.improved:
            save_checkpoint(self._folder / MODEL, self._training.best_model())
        self._curve.append({"epoch": report.epoch, **report.metrics()})
        append_epoch(self._folder, self._curve[-1])
        start = time.monotonic()
        if start - self._saved >= SAVING_SHARE * self._saving:
            self._training.save(self._folder / STATE)
            self._saved = time.monotonic()
            self._saving = self._saved - start

    def _report(self, report: EpochReport) -> dict[str, Any]:
        content = self.options.target is not None and report.best_weighted_f1 >= self.options.target
        done = report.done or content
        found = curve.report(self._curve[: report.epoch])
        return found | {"done": done, "ended": "by itself" if done else ""}

    def _failure(self, kind: str, error: BaseException) -> dict[str, Any]:
        epochs = len(self._curve)
        self._training = None  # a model that ran out of memory must not hold it until the next trial
        gc.collect()
        if self._folder.is_dir():
            (self._folder / ERROR).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        named = first if kind == "diverged" else f"{type(error).__name__}: {first}"
        return {"done": True, "ended": "failed", "reason": f"{kind}: {named}"[:300], "epochs": epochs}
