"""Folds of train: whole dialogues, alike, and refused where scores on them would be false."""

import dataclasses

import numpy as np
import pytest

from rigsl.data.folds import NO_FOLD, folds_refused, train_folds
from rigsl.data.source import load_corpus
from tests.helpers.corpora import toy_corpus

CORPUS = toy_corpus(dialogues=200)


def test_every_training_dialogue_is_in_one_fold_and_no_other_is() -> None:
    folds = train_folds(CORPUS, 3)
    train = CORPUS.dialogues("train")
    assert set(folds[train]) == {0, 1, 2}
    assert (np.delete(folds, train) == NO_FOLD).all()
    assert np.array_equal(folds, train_folds(CORPUS, 3))
    assert not np.array_equal(folds, train_folds(CORPUS, 3, seed=1))


def test_folds_have_like_sizes_and_like_shares_of_the_classes() -> None:
    folds = train_folds(CORPUS, 3)
    parts = [CORPUS.labels[CORPUS.rows(np.flatnonzero(folds == fold))] for fold in range(3)]
    counts = np.array([np.bincount(part, minlength=4) for part in parts])
    assert counts.sum(axis=1).max() - counts.sum(axis=1).min() <= 6
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert np.ptp(shares, axis=0).max() < 0.05


@pytest.mark.parametrize(
    ("provenance", "reason"),
    [
        ({}, ""),
        ({"labels_seen": {"train": "out of fold: encoders of the other folds"}}, ""),
        ({"emotions": {"labels_seen": {"train": "out of fold: the others"}}}, ""),
        (
            {"labels_seen": {"train": "in-sample: of train and dev", "dev": "no"}},
            "know its labels (in-sample",
        ),
        ({"emotions": {"labels_seen": {"train": "in-sample"}}}, "know its labels (in-sample)"),
    ],
)
def test_features_that_know_the_labels_of_train_forbid_folds(provenance: dict, reason: str) -> None:
    refused = folds_refused(dataclasses.replace(CORPUS, provenance=provenance), 3)
    assert reason in refused
    assert bool(refused) == bool(reason)


def test_a_corpus_may_be_too_small_for_folds() -> None:
    small = toy_corpus(dialogues=15)  # 9 of them are in train
    assert not folds_refused(small, 2)
    assert folds_refused(small, 3) == "train has fewer than 4 dialogues for each of 3 folds"


def test_the_bundled_corpus_allows_folds() -> None:
    assert not folds_refused(load_corpus("MELD", "open"), 3)
