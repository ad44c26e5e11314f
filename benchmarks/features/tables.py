"""The tables of docs/features.md, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import log_loss

from benchmarks.features.constructions import (
    IN_SAMPLE,
    NESTED,
    NONE,
    ON_DEV,
    ON_FOLDS,
    OUT_OF_FOLD,
    Setup,
)
from benchmarks.features.learners import LEARNERS
from rigsl.training import scores

#: Rows of the table: construction and validation, as they are called there.
ROWS = {
    (NONE, ON_DEV): "no fine-tuned columns, dev",
    (OUT_OF_FOLD, ON_DEV): "out of fold, dev",
    (IN_SAMPLE, ON_DEV): "in-sample, dev (wrong)",
    (NONE, ON_FOLDS): "no fine-tuned columns, folds",
    (NESTED, ON_FOLDS): "nested, folds",
    (OUT_OF_FOLD, ON_FOLDS): "out of fold, the same folds",
    (IN_SAMPLE, ON_FOLDS): "in-sample, folds (wrong)",
}


def weighted_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Weighted F1 in per cent."""
    classes = int(max(labels.max(), predicted.max())) + 1
    return float(100 * scores.weighted_f1(scores.confusion_matrix(labels, predicted, classes)))


def table_of_constructions(
    setups: Sequence[Setup],
    tests: Sequence[np.ndarray],
    labels: np.ndarray,
    predictions: Mapping[tuple[str, int], np.ndarray],
) -> str:
    """For each construction and learner: validation score, score on the pseudo-test, and their difference.

    The difference's standard error is that over cuts.
    """
    head = " | ".join(f"{name}: validation | pseudo-test | difference" for name in LEARNERS)
    lines = [f"| columns, validation on | {head} |", "|---|" + "--:|" * 3 * len(LEARNERS)]
    for (construction, validation), title in ROWS.items():
        cells = []
        for learner in LEARNERS:
            pairs = _scores_by_cut(construction, validation, learner, setups, tests, labels, predictions)
            held, test = pairs.mean(axis=0)
            gap = pairs[:, 0] - pairs[:, 1]
            error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
            cells += [f"{held:.1f}", f"{test:.1f}", f"{gap.mean():+.1f} ± {error:.1f}"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scores_by_cut(
    construction: str,
    validation: str,
    learner: str,
    setups: Sequence[Setup],
    tests: Sequence[np.ndarray],
    labels: np.ndarray,
    predictions: Mapping[tuple[str, int], np.ndarray],
) -> np.ndarray:
    """Weighted F1 on the held utterances and on the pseudo-test, means over folds; [cuts, 2]."""
    result = []
    for cut, test in enumerate(tests):
        pairs = [
            [weighted_f1(labels[rows], predictions[learner, index][rows]) for rows in (setup.held, test)]
            for index, setup in enumerate(setups)
            if (setup.cut, setup.construction, setup.validation) == (cut, construction, validation)
        ]
        result.append(np.mean(pairs, axis=0))
    return np.array(result)


def table_of_sizes(
    sizes: Sequence[int],
    setups: Sequence[Setup],
    tests: Sequence[np.ndarray],
    labels: np.ndarray,
    predictions: Mapping[tuple[str, int], np.ndarray],
) -> str:
    """For each size of train: mean scores on the pseudo-tests, of the largest column and of each learner.

    Differences are those of each draw.

    Args:
        sizes: utterances of train of each entry of `tests`, at least.
        setups: with fine-tuned columns and without, of each entry of `tests`.
        tests: the pseudo-tests, bool [U].
        labels: [U].
        predictions: see `learners.train_all`.
    """
    head = " | ".join(f"{name}: frozen | fine-tuned | difference, by draw" for name in LEARNERS)
    lines = [
        f"| utterances of train | largest column | {head} |",
        "|--:|--:|" + "--:|" * 3 * len(LEARNERS),
    ]
    for size in dict.fromkeys(sizes):
        samples = [sample for sample, own in enumerate(sizes) if own == size]
        alone = [
            weighted_f1(labels[tests[setup.cut]], setup.columns[tests[setup.cut]].argmax(axis=1))
            for setup in setups
            if setup.columns is not None and setup.cut in samples
        ]
        cells = [f"{np.mean(alone):.1f}"]
        for learner in LEARNERS:
            frozen, tuned = (
                _scores_by_cut(construction, ON_DEV, learner, setups, tests, labels, predictions)[samples, 1]
                for construction in (NONE, OUT_OF_FOLD)
            )
            gaps = ", ".join(f"{gap:+.1f}" for gap in tuned - frozen)
            cells += [f"{frozen.mean():.1f}", f"{tuned.mean():.1f}", gaps]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_options(rows: Mapping[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray) -> str:
    """For each way of fine-tuning: scores of its out-of-fold columns, and of a logistic regression with them.

    Args:
        rows: name -> log-probabilities [U, classes], and the logistic regression's classes [U].
        labels: [U].
    """
    lines = [
        "| fine-tuning | weighted F1 of the columns | their log-loss | F1 of a logistic regression |",
        "|---|--:|--:|--:|",
    ]
    for name, (columns, predicted) in rows.items():
        alone = weighted_f1(labels, columns.argmax(axis=1))
        probabilities = np.exp(columns) / np.exp(columns).sum(axis=1, keepdims=True)
        loss = log_loss(labels, probabilities, labels=range(columns.shape[1]))
        lines.append(f"| {name} | {alone:.1f} | {loss:.3f} | {weighted_f1(labels, predicted):.1f} |")
    return "\n".join(lines)
