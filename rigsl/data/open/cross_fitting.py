"""Cross-fitted emotion encoders: columns that know the task, and no row's own label.

The training dialogues are cut into K folds, stratified by emotion, R times in different ways. In each cut,
encoder k is fine-tuned on all but fold k. A training utterance gets the mean log-probabilities of the R
encoders that never saw its dialogue (out of fold); an utterance of another split those of all R x K encoders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rigsl.data.corpus import SPLITS
from rigsl.data.folds import NO_FOLD, stratified_parts
from rigsl.data.open.emotion_encoder import log_probabilities, token_inputs, tuned_encoder
from rigsl.data.open.emotions import PREFIX
from rigsl.data.open.fine_tuned import EmotionEncoders
from rigsl.data.open.fine_tuning import fine_tune, steps_of
from rigsl.data.open.meld import Transcript
from rigsl.data.open.processes import in_processes
from rigsl.data.open.settings import FineTuning
from rigsl.errors import UserError
from rigsl.wording import counted

TRAIN = SPLITS.index("train")


def fold_of_dialogues(transcript: Transcript, settings: FineTuning) -> np.ndarray:
    """The fold of every training dialogue in every cut, NO_FOLD for the others; int64 [R, n].

    A class in fewer dialogues than folds is in some folds only, one in a single dialogue in one.

    Raises:
        UserError: train cannot be cut into so many folds.
    """
    dialogue = np.repeat(np.arange(len(transcript.splits)), np.diff(transcript.offsets))
    rows = np.flatnonzero(transcript.splits[dialogue] == TRAIN)
    if (count := len(np.unique(dialogue[rows]))) < settings.folds:
        raise UserError(f"{count} training dialogues cannot be cut into {settings.folds} folds")
    if (largest := np.bincount(transcript.labels[rows]).max()) < settings.folds:
        raise UserError(
            f"no class has more than {counted(int(largest), 'training utterance')}, which cannot be cut into "
            f"{settings.folds} folds; take fewer folds, or merge classes"
        )
    result = np.full((settings.repeats, len(transcript.splits)), NO_FOLD, dtype=np.int64)
    for repeat, folds in enumerate(result):
        seed = (settings.seed + repeat) % 2**32  # scikit-learn takes no larger one
        parts = stratified_parts(transcript.labels[rows], dialogue[rows], settings.folds, seed)
        for fold, held in enumerate(parts):
            folds[dialogue[rows[held]]] = fold
        if len(np.unique(folds[folds != NO_FOLD])) < settings.folds:
            raise UserError(
                f"{count} training dialogues fill fewer than {settings.folds} folds, for some are much "
                "longer than others; take fewer folds"
            )
    return result


def fold_of_rows(transcript: Transcript, fold_of_dialogue: np.ndarray) -> np.ndarray:
    """The fold of every utterance by that of its dialogue: [R, n] -> [R, U]."""
    return np.repeat(fold_of_dialogue, np.diff(transcript.offsets), axis=1)


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
    """Fine-tune one encoder for each fold of each cut on the labels of all other folds.

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
    learns = [
        np.flatnonzero((rows != fold) & (rows != NO_FOLD))
        for rows in fold_of_rows(transcript, fold_of_dialogue)
        for fold in range(settings.folds)
    ]
    jobs = [
        {
            "transcript": transcript,
            "folder": folder,
            "rows": rows,
            "settings": dataclasses.replace(settings, seed=(settings.seed + index) % 2**32),
            "state": states / f"encoder_{index}.pt",
            "device": device,
        }
        for index, rows in enumerate(learns)
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
        fold_of_dialogue: the fold of each dialogue in each cut, NO_FOLD if no encoder saw it; int64 [R, n].
        processes: encoders that compute at the same time.
    """
    rows = [
        np.flatnonzero((fold_of_row == fold) | (fold_of_row == NO_FOLD))
        for fold_of_row in fold_of_rows(transcript, fold_of_dialogue)
        for fold in range(encoders.settings.folds)
    ]
    jobs = [
        {"transcript": transcript, "folder": folder, "encoders": encoders, "index": index, "rows": part}
        for index, part in enumerate(rows)
    ]
    parts = in_processes(_fold_log_probabilities, jobs, processes, "emotions", sum(map(len, rows)))
    utterances = len(transcript.utterances)
    total, count = np.zeros((utterances, len(transcript.classes))), np.zeros(utterances)
    for part, values in zip(rows, parts, strict=True):
        total[part] += values
        count[part] += 1
    means = (total / count[:, None]).T
    return {f"{PREFIX}{name}": column for name, column in zip(transcript.classes, means, strict=True)}


def _fold_log_probabilities(
    transcript: Transcript,
    folder: Path,
    encoders: EmotionEncoders,
    index: int,
    rows: np.ndarray,
    on_steps: Callable[[int], object],
) -> np.ndarray:
    """Log-probabilities of `rows` by encoder `index`, float64 [len(rows), classes]."""
    model = tuned_encoder(folder, encoders.settings.rank, encoders.tensors[index])
    inputs = token_inputs(model.tokenizer, transcript, encoders.settings.context)
    return log_probabilities(model, inputs, rows, on_rows=on_steps)
