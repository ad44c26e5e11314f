"""Train a configuration to its last epoch and keep the best one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.model.rigsl import RIGSL
from rigsl.training.trainer import EpochReport, Training


@dataclass(frozen=True)
class FitResult:
    """A finished training: the model of the best epoch, that epoch's report, all reports."""

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
) -> FitResult:
    """Train to the end; validation weighted F1 picks the epoch whose weights are returned.

    Args:
        lineage: configurations under which the training begins, each with the epoch after which the next
            one takes over; after the last of them, `config`.

    Raises:
        UserError, TrainingDiverged, torch.OutOfMemoryError: as `Training` and its `step` and `under`.
    """
    stages = [*lineage, (config, config.epochs)]
    training = Training(stages[0][0], corpus, device=device, train=train, validation=validation)
    history: list[EpochReport] = []
    for stage, until in stages:
        training = training if stage == training.config else training.under(stage)
        while not training.done and training.epoch < until:
            history.append(training.step())
            if on_epoch is not None:
                on_epoch(history[-1])
    return FitResult(training.best_model(), history[history[-1].best_epoch - 1], history)
