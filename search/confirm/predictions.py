"""The predictions of several trainings of one configuration on one split, and their scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rigsl.training import scores

if TYPE_CHECKING:
    from rigsl.data.corpus import Corpus
    from rigsl.training.evaluation import Evaluation

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SeedRuns:
    """What m trainings of one configuration predict for the same U utterances in n dialogues.

    Raises:
        ValueError: the parts do not fit together.
    """

    predicted: Integers  #: [m, U], index into `classes`
    labels: Integers  #: [U], index into `classes`
    offsets: Integers  #: [n + 1]: dialogue i is utterances offsets[i]:offsets[i + 1]
    classes: tuple[str, ...]
    seeds: tuple[int, ...]  #: of the m trainings
    config_hash: str = ""  #: of their configuration without the seed; empty: not recorded (version 0.1.0)
    weights: tuple[str, ...] = ()  #: SHA-256 of each training's weights; empty: not recorded
    validation: tuple[float, ...] = ()  #: weighted F1 on dev of each; empty: its training has reported it
    parameters: int = 0  #: of one model, or of all models that are averaged; 0: not recorded
    milliseconds: float = 0.0  #: an utterance, of one model or of all that are averaged; 0: not recorded

    def __post_init__(self) -> None:
        shapes_fit = self.predicted.shape == (len(self.seeds), len(self.labels)) and len(self.seeds) > 0
        offsets_fit = (
            self.offsets[0] == 0
            and self.offsets[-1] == len(self.labels)
            and (np.diff(self.offsets) > 0).all()
        )
        values = np.concatenate([self.labels, self.predicted.ravel()])
        weights_fit = not self.weights or len(self.weights) == len(self.seeds)
        if not (
            shapes_fit
            and offsets_fit
            and weights_fit
            and values.min() >= 0
            and values.max() < len(self.classes)
        ):
            raise ValueError("predictions, labels and dialogues do not fit together")

    def one(self, index: int) -> SeedRuns:
        """The training `index` alone."""
        row = slice(index, index + 1)
        return dataclasses.replace(
            self, predicted=self.predicted[row], seeds=self.seeds[row], weights=self.weights[row]
        )


def seed_runs(corpus: Corpus, split: str, evaluations: Mapping[int, Evaluation]) -> SeedRuns:
    """The predictions of trainings on a whole split; `evaluations`: seed -> evaluation."""
    lengths = corpus.lengths[corpus.dialogues(split)]
    predicted = np.stack([evaluation.log_prob.argmax(axis=1) for evaluation in evaluations.values()])
    labels = next(iter(evaluations.values())).labels
    return SeedRuns(predicted, labels, np.append(0, np.cumsum(lengths)), corpus.classes, tuple(evaluations))


@dataclass(frozen=True)
class RunScores:
    """Scores of one training (fractions); the F1 of a class that neither occurs nor is predicted is None."""

    weighted_f1: float
    macro_f1: float
    accuracy: float
    f1: dict[str, float | None]


def scores_of(runs: SeedRuns) -> list[RunScores]:
    """The scores of every training."""
    run_scores = []
    for predicted in runs.predicted:
        counts = scores.confusion_matrix(runs.labels, predicted, len(runs.classes))
        class_f1 = scores.f1(counts)
        run_scores.append(
            RunScores(
                weighted_f1=float(scores.weighted_f1(counts)),
                macro_f1=scores.macro_f1(counts),
                accuracy=scores.accuracy(counts),
                f1={
                    name: None if np.isnan(value) else float(value)
                    for name, value in zip(runs.classes, class_f1, strict=True)
                },
            )
        )
    return run_scores


def split_scores(evaluation: Evaluation, corpus: Corpus, split: str) -> dict[str, Any]:
    """Weighted F1, macro F1, accuracy and the F1 of every class, from an evaluation of a whole split."""
    return dataclasses.asdict(scores_of(seed_runs(corpus, split, {0: evaluation}))[0])


def confusion(runs: SeedRuns) -> Integers:
    """Confusion matrix, summed over the trainings: [true class, predicted class]"""
    matrices = [
        scores.confusion_matrix(runs.labels, predicted, len(runs.classes)) for predicted in runs.predicted
    ]
    return np.asarray(np.sum(matrices, axis=0), dtype=np.int64)


def dialogue_confusions(runs: SeedRuns) -> Integers:
    """The confusion matrix of every training and dialogue: [m, n, true class, predicted class]"""
    m, n, k = len(runs.seeds), len(runs.offsets) - 1, len(runs.classes)
    dialogue = np.repeat(np.arange(n), np.diff(runs.offsets))
    cell = (dialogue * k + runs.labels) * k + runs.predicted  # [m, U], within a training
    flat = cell + np.arange(m)[:, None] * (n * k * k)
    return np.bincount(flat.ravel(), minlength=m * n * k * k).reshape(m, n, k, k)


def check_paired(winner: SeedRuns, baseline: SeedRuns) -> None:
    """Check that both were tested on the same utterances.

    Raises:
        ValueError: they were not.
    """
    same = np.array_equal(winner.labels, baseline.labels) and np.array_equal(winner.offsets, baseline.offsets)
    if not same or winner.classes != baseline.classes:
        raise ValueError("winner and baseline were not tested on the same utterances")
