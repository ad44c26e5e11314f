"""A linear probe: logistic regression on the delivery features and emotions of every utterance by itself.

Its penalty and class weights are chosen by cross-validation on train, over the folds of the corpus; then it
is scored on dev and, once, on test.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from benchmarks.features.tables import weighted_f1
from rigsl.data.corpus import Corpus
from rigsl.data.open.emotions import EMOTIONS
from rigsl.data.open.fine_tuned import FOLDS

#: Inverse strengths of the penalty; exponents p of class weights, frequency ** -p.
STRENGTHS, EXPONENTS = (0.01, 0.03, 0.1), (0.0, 0.25, 0.5)


def probe_table(corpus: Corpus) -> str:
    """The table of all settings, and the scores of the best one, as Markdown."""
    lines = ["| C | class weights, exponent | train, cross-validated |", "|--:|--:|--:|"]
    scores = {setting: cross_validated(corpus, *setting) for setting in product(STRENGTHS, EXPONENTS)}
    lines += [f"| {strength} | {exponent} | {score:.2f} |" for (strength, exponent), score in scores.items()]
    strength, exponent = max(scores, key=lambda setting: scores[setting])
    split = np.repeat(corpus.splits, corpus.lengths)
    predicted = _predict(corpus, split == 0, strength, exponent)
    dev, test = (weighted_f1(corpus.labels[split == part], predicted[split == part]) for part in (1, 2))
    return "\n".join(
        [*lines, "", f"The best one (C = {strength}, {exponent}): {dev:.2f} on dev, {test:.2f} on test."]
    )


def cross_validated(corpus: Corpus, strength: float, exponent: float) -> float:
    """Weighted F1 in per cent on train, each fold predicted by a probe of the others."""
    fold = np.full(len(corpus.splits), -1)
    fold[corpus.splits == 0] = corpus.provenance[EMOTIONS][FOLDS][0]
    fold = np.repeat(fold, corpus.lengths)
    predicted = np.empty_like(corpus.labels)
    for held in range(fold.max() + 1):
        learns = (fold >= 0) & (fold != held)
        predicted[fold == held] = _predict(corpus, learns, strength, exponent)[fold == held]
    return weighted_f1(corpus.labels[fold >= 0], predicted[fold >= 0])


def _predict(corpus: Corpus, learns: np.ndarray, strength: float, exponent: float) -> np.ndarray:
    """Classes of all utterances, by a probe that learned from these rows."""
    from sklearn.linear_model import LogisticRegression

    table = corpus.features["d"].astype(np.float64)
    frequency = np.bincount(corpus.labels[learns], minlength=len(corpus.classes)) / learns.sum()
    weights = {label: share**-exponent for label, share in enumerate(frequency.tolist())}
    probe = LogisticRegression(C=strength, class_weight=weights, max_iter=3000)
    probe.fit(table[learns], corpus.labels[learns])
    return np.asarray(probe.predict(table))
