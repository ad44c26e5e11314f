"""Class frequencies of train and dev; those of test are not read."""

import dataclasses

import numpy as np
import pytest

from rigsl.data.corpus import Corpus
from search.trust.priors import prior_shift
from tests.helpers.corpora import toy_corpus

CORPUS = toy_corpus(dialogues=400)


def with_dev(corpus: Corpus, shifted: float) -> Corpus:
    """The corpus with so large a share of dev's utterances turned into class 2."""
    labels, rows = corpus.labels.copy(), corpus.rows(corpus.dialogues("dev"))
    labels[rows[: int(shifted * len(rows))]] = 2
    return dataclasses.replace(corpus, labels=labels)


def test_a_random_part_is_not_beyond_chance_and_a_shifted_one_is() -> None:
    assert not prior_shift(CORPUS).beyond_chance
    shift = prior_shift(with_dev(CORPUS, 0.3))
    assert shift.beyond_chance
    assert shift.largest == "class2"
    assert shift.distance == pytest.approx(0.3 * (1 - shift.train[2]), abs=0.06)
    assert sum(shift.train) == pytest.approx(1)
    assert sum(shift.dev) == pytest.approx(1)


def test_chance_exceeds_its_limit_in_one_of_twenty_splits() -> None:
    rng, beyond = np.random.default_rng(0), 0
    for _ in range(60):
        splits = rng.permutation(CORPUS.splits)
        beyond += prior_shift(dataclasses.replace(CORPUS, splits=splits)).beyond_chance
    assert beyond <= 9


def test_labels_of_test_are_not_read() -> None:
    assert prior_shift(CORPUS.without_test_labels()) == prior_shift(CORPUS)
