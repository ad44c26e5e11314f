"""Fine-tuned encoders, each by what it learned from, and their log-probabilities of training utterances."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.features.cuts import NO_FOLD, TRAIN, Cut
from rigsl.data.open.emotion_encoder import log_probabilities, token_inputs, tuned_encoder
from rigsl.data.open.fine_tuning import fine_tune, steps_of
from rigsl.data.open.meld import CLASSES, Transcript
from rigsl.data.open.processes import in_processes
from rigsl.data.open.settings import FineTuning
from rigsl.files import replacing


@dataclass(frozen=True, eq=False)
class Encoder:
    """One fine-tuning: the training utterances it learns from, and its settings."""

    rows: np.ndarray
    settings: FineTuning
    asked: np.ndarray | None = None  #: the utterances whose log-probabilities are kept; None: all

    @property
    def name(self) -> str:
        """Of its file: a digest of what it learns from, and of what it is asked."""
        asked = {} if self.asked is None else {"asked": _digest(self.asked)}
        return self.settings.key(rows=_digest(self.rows), **asked)


def _digest(rows: np.ndarray) -> str:
    return hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()


def of_train(cut: Cut, settings: FineTuning) -> Encoder:
    """The encoder that learned from the whole train of a cut."""
    return Encoder(np.flatnonzero(cut.split == TRAIN), settings)


def without(cut: Cut, settings: FineTuning, *folds: int, asked: np.ndarray | None = None) -> Encoder:
    """The encoder that learned from all folds of a cut but these."""
    rows = np.flatnonzero((cut.fold != NO_FOLD) & ~np.isin(cut.fold, folds))
    return Encoder(rows, dataclasses.replace(settings, seed=settings.seed + 1 + sum(folds)), asked)


def learn(
    encoders: Sequence[Encoder],
    transcript: Transcript,
    base: Path,
    folder: Path,
    device: str,
    processes: int,
) -> None:
    """Fine-tune those encoders that are not in `folder` yet; each is written when it is done.

    Args:
        encoders: what to learn.
        transcript: training dialogues.
        base: folder of the sentence encoder.
        folder: of the log-probabilities.
        device: where to train.
        processes: encoders at the same time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = {encoder.name: encoder for encoder in encoders if not _path(folder, encoder).exists()}
    jobs = [
        {
            "encoder": encoder,
            "transcript": transcript,
            "base": base,
            "path": _path(folder, encoder),
            "device": device,
        }
        for encoder in sorted(missing.values(), key=lambda one: -steps_of(one.rows, one.settings))
    ]
    steps = sum(steps_of(encoder.rows, encoder.settings) for encoder in missing.values())
    if jobs:
        in_processes(_learn, jobs, processes, "encoders", steps)


def read(folder: Path, encoder: Encoder) -> np.ndarray:
    """Its log-probabilities, float64 [U, classes]; NaN where it was not asked."""
    return np.load(_path(folder, encoder)).astype(np.float64)


def _path(folder: Path, encoder: Encoder) -> Path:
    return folder / f"{encoder.name}.npy"


def _learn(
    encoder: Encoder,
    transcript: Transcript,
    base: Path,
    path: Path,
    device: str,
    on_steps: Callable[[int], object],
) -> None:
    state, settings = path.with_suffix(".pt"), encoder.settings
    tensors = fine_tune(transcript, base, encoder.rows, settings, state, device=device, on_steps=on_steps)
    model = tuned_encoder(base, settings.rank, tensors).float()
    inputs = token_inputs(model.tokenizer, transcript, settings.context)
    rows = np.arange(len(transcript.labels)) if encoder.asked is None else encoder.asked
    values = np.full((len(transcript.labels), len(CLASSES)), np.nan, dtype=np.float16)
    values[rows] = log_probabilities(model.to(device), inputs, rows, batch_size=256)
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, values)
    state.unlink(missing_ok=True)
