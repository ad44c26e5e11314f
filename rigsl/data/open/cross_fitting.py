"""Cross-fitted emotion encoders: columns that know the task, and no row's own label.

The training dialogues are cut into K folds, stratified by emotion. Encoder k is fine-tuned on all but fold k.
A training utterance gets the log-probabilities of the one encoder that never saw its dialogue (out of fold);
an utterance of another split gets the mean of those of all K encoders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rigsl.data.corpus import SPLITS
from rigsl.data.open.emotion_encoder import EmotionEncoder, log_probabilities, token_inputs
from rigsl.data.open.emotions import PREFIX
from rigsl.data.open.fine_tuned import NO_FOLD, EmotionEncoders, FineTuning
from rigsl.data.open.fine_tuning import fine_tune, steps_of
from rigsl.data.open.low_rank import set_trained_tensors
from rigsl.data.open.meld import CLASSES, Transcript
from rigsl.data.open.processes import in_processes
from rigsl.errors import UserError

TRAIN = SPLITS.index("train")


def fold_of_dialogues(transcript: Transcript, folds: int, seed: int) -> np.ndarray:
    """The fold of every training dialogue, NO_FOLD for the others; int64 [n].

    Raises:
        UserError: there are fewer training dialogues than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    dialogue = np.repeat(np.arange(len(transcript.splits)), np.diff(transcript.offsets))
    rows = np.flatnonzero(transcript.splits[dialogue] == TRAIN)
    if (count := len(np.unique(dialogue[rows]))) < folds:
        raise UserError(f"{count} training dialogues cannot be cut into {folds} folds")
    result = np.full(len(transcript.splits), NO_FOLD, dtype=np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, held) in enumerate(splitter.split(rows, transcript.labels[rows], dialogue[rows])):
        result[dialogue[rows[held]]] = fold
    return result


def cross_fit(
    transcript: Transcript,
    fold_of_dialogue: np.ndarray,
    folder: Path,
    base: dict[str, str],
    settings: FineTuning,
    states: Path,
    *,
    device: str = "cpu",
    processes: int = 1,
) -> EmotionEncoders:
    """Fine-tune one encoder for each fold on the labels of all other folds.

    Each encoder is trained by one CPU thread, so that the number of `processes` changes no number.

    Args:
        transcript: the utterances.
        fold_of_dialogue: see `fold_of_dialogues`; labels of dialogues with NO_FOLD are not read.
        folder: of the sentence encoder.
        base: SHA-256 of its weights.
        settings: of the training.
        states: folder of the states by which an interrupted call goes on.
        device: where to train.
        processes: folds that are trained at the same time; 1 on a GPU.

    Raises:
        UserError: a state cannot be read or written, or a process was killed.
    """
    fold_of_row = np.repeat(fold_of_dialogue, np.diff(transcript.offsets))
    learns = [
        np.flatnonzero((fold_of_row != fold) & (fold_of_row != NO_FOLD)) for fold in range(settings.folds)
    ]
    jobs = [
        {
            "transcript": transcript,
            "folder": folder,
            "rows": rows,
            "settings": dataclasses.replace(settings, seed=settings.seed + fold),
            "state": states / f"fold_{fold}.pt",
            "device": device,
        }
        for fold, rows in enumerate(learns)
    ]
    steps = sum(steps_of(rows, settings) for rows in learns)
    tensors = in_processes(fine_tune, jobs, processes, "fine-tuning", steps)
    return EmotionEncoders(settings, tuple(tensors), base)


def emotion_columns(
    encoders: EmotionEncoders,
    transcript: Transcript,
    folder: Path,
    fold_of_dialogue: np.ndarray,
    *,
    processes: int = 1,
) -> dict[str, np.ndarray]:
    """Log-probabilities of the classes, name -> float64 [U]: out of fold, or the mean of all encoders.

    Computed in float64 on the CPU, so that neither threads nor machines change the float16 that is stored.

    Args:
        encoders: the fine-tuned encoders.
        transcript: the utterances.
        folder: of the sentence encoder that they adapt.
        fold_of_dialogue: the fold of each dialogue, NO_FOLD if no encoder saw it; int64 [n].
        processes: encoders that compute at the same time.
    """
    fold_of_row = np.repeat(fold_of_dialogue, np.diff(transcript.offsets))
    rows = [
        np.flatnonzero((fold_of_row == fold) | (fold_of_row == NO_FOLD))
        for fold in range(len(encoders.tensors))
    ]
    jobs = [
        {"transcript": transcript, "folder": folder, "encoders": encoders, "fold": fold, "rows": part}
        for fold, part in enumerate(rows)
    ]
    parts = in_processes(_fold_log_probabilities, jobs, processes, "emotions", sum(map(len, rows)))
    total, count = np.zeros((len(fold_of_row), len(CLASSES))), np.zeros(len(fold_of_row))
    for part, values in zip(rows, parts, strict=True):
        total[part] += values
        count[part] += 1
    means = (total / count[:, None]).T
    return {f"{PREFIX}{name}": column for name, column in zip(CLASSES, means, strict=True)}


def _fold_log_probabilities(
    transcript: Transcript,
    folder: Path,
    encoders: EmotionEncoders,
    fold: int,
    rows: np.ndarray,
    on_steps: Callable[[int], object],
) -> np.ndarray:
    """Log-probabilities of `rows` by encoder `fold`, float64 [len(rows), classes]."""
    model = EmotionEncoder(folder, len(CLASSES), encoders.settings.rank)
    inputs = token_inputs(model.tokenizer, transcript, encoders.settings.context)
    tensors = {
        name: torch.from_numpy(value.astype(np.float64)) for name, value in encoders.tensors[fold].items()
    }
    with torch.no_grad():
        set_trained_tensors(model, tensors)
    return log_probabilities(model, inputs, rows, on_rows=on_steps)
