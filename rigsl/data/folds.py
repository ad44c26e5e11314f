"""Folds of the training dialogues, and whether scores on them are honest."""

from __future__ import annotations

import warnings

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.data.open.emotions import labels_seen

NO_FOLD = -1  #: of a dialogue that is in no fold, such as those of dev and test
#: How `labels_seen` of a split begins where the features of an utterance were learned from its own label.
IN_SAMPLE = "in-sample"
#: Training dialogues of a fold at least.
MIN_DIALOGUES = 4


def stratified_parts(labels: np.ndarray, dialogue: np.ndarray, parts: int, seed: int) -> list[np.ndarray]:
    """Indices of whole dialogues in parts of like size and like shares of the labels.

    Args:
        labels: of every utterance [U].
        dialogue: of every utterance [U].
        parts: how many.
        seed: of the draw.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # in small corpora
        return [held for _, held in splitter.split(labels, labels, dialogue)]


def train_folds(corpus: Corpus, folds: int, seed: int = 0) -> np.ndarray:
    """The fold of every training dialogue, NO_FOLD for the others; int64 [n].

    Folds are of whole dialogues, of like size and like shares of the classes.

    Args:
        corpus: whose training dialogues are cut.
        folds: how many.
        seed: of the cut.
    """
    train = corpus.dialogues("train")
    dialogue = np.repeat(train, corpus.lengths[train])
    result = np.full(len(corpus.splits), NO_FOLD, dtype=np.int64)
    for fold, rows in enumerate(stratified_parts(corpus.labels[corpus.rows(train)], dialogue, folds, seed)):
        result[dialogue[rows]] = fold
    return result


def folds_refused(corpus: Corpus, folds: int) -> str:
    """Why a model must not be scored on `folds` folds of train; empty: it may be.

    The score of a held-out fold is false where its features were learned from its labels: the model is
    scored on labels that its input knows (docs/features.md measures some 10 points).
    """
    seen = str(labels_seen(corpus).get("train", ""))
    if seen.startswith(IN_SAMPLE):
        return f"the features of train know its labels ({seen}), so that scores on folds of it would be false"
    if len(corpus.dialogues("train")) < MIN_DIALOGUES * folds:
        return f"train has fewer than {MIN_DIALOGUES} dialogues for each of {folds} folds"
    return ""
