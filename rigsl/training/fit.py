"""Train a configuration to its last epoch and keep the best epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.model.rigsl import RIGSL
from rigsl.training.teacher import Teacher
from rigsl.training.trainer import EpochReport, Training


@dataclass(frozen=True)
class FitResult:
    """A finished training.

    model: with the weights of the best epoch; best: the report of that epoch; history: the reports of all
    epochs.
    """

    model: RIGSL
    best: EpochReport
    history: list[EpochReport]


def fit(
    config: RIGSLConfig,
    corpus: Corpus,
    *,
    device: str = "cpu",
    train: Sequence[str] = ("train",),
    validation: str = "dev",
    on_epoch: Callable[[EpochReport], None] | None = None,
    lineage: Sequence[tuple[RIGSLConfig, int]] = (),
    held_out: NDArray[np.int64] | None = None,
    validate_held_out: bool = False,
    teacher: Teacher | None = None,
) -> FitResult:
    """Train a configuration to its last epoch; the weights of the epoch with the best weighted F1 are kept.

    Args:
        train, validation: the splits to train on and to choose the epoch on.
        on_epoch: called with the report of every epoch.
        lineage: configurations with which the training begins, each with the epoch after which the next one
            takes over; `config` comes after the last of them.
        held_out: dialogues, by their indices, of `train` that are not trained on, such as a fold.
        validate_held_out: whether the epoch is chosen on them, too, together with `validation`.
        teacher: targets of training utterances that are learned beside the labels.

    Raises:
        UserError: the corpus lacks a modality or a split, or hides labels that training needs, or the teacher
            is that of another corpus.
        TrainingDiverged: the loss became NaN or infinite.
        torch.OutOfMemoryError: the memory of the device is full.
    """
    stages = [*lineage, (config, config.epochs)]
    training = Training(
        stages[0][0],
        corpus,
        device=device,
        train=train,
        validation=validation,
        held_out=held_out,
        validate_held_out=validate_held_out,
        teacher=teacher,
    )
    history: list[EpochReport] = []
    for stage, until in stages:
        training = training if stage == training.config else training.with_config(stage)
        while not training.done and training.epoch < until:
            history.append(training.step())
            if on_epoch is not None:
                on_epoch(history[-1])
    return FitResult(training.best_model(), history[history[-1].best_epoch - 1], history)
