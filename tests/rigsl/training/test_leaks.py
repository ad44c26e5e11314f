"""No way from the labels of test into folds, teaching and averaging.

Where the labels of train are permuted, nothing but a leak lets a model beat the majority class on test.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.data.folds import train_folds
from rigsl.inference.average import Average, evaluate_model, log_probabilities
from rigsl.model.rigsl import RIGSL
from rigsl.training.evaluation import predict
from rigsl.training.fit import fit
from rigsl.training.teacher import Teacher
from rigsl.training.trainer import Training
from tests.helpers.corpora import corpus_from_arrays

CLASSES, MAJORITY, FOLDS = 4, 0.5, 2
CONFIG = RIGSLConfig(
    modals="ld", hidden_dim=16, num_K=1, num_L=1, gumbel_k=2, nodeformer_heads=2, nb_features_dim=8, lr=1e-2,
    dropout=0.0, nodeformer_dropout=0.0, denoise_dropout=0.0, epochs=8, batch_size=8, class_weight="none",
)  # fmt: skip


def make_corpus(dialogues: int = 125) -> Corpus:
    """Half of the utterances are of class 0; the class is written into the text vector."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 6, dialogues)
    count = int(lengths.sum())
    labels = rng.choice(CLASSES, size=count, p=[MAJORITY, 0.2, 0.2, 0.1])
    text = rng.normal(size=(count, 1, 8))
    text[:, 0, :CLASSES] += 4.0 * np.eye(CLASSES)[labels]
    speakers = np.concatenate([np.arange(length) % 2 for length in lengths])
    splits = [(0, 0, 0, 1, 2)[i % 5] for i in range(dialogues)]
    features = {"l": text, "d": rng.normal(size=(count, 3))}
    return corpus_from_arrays(features, labels, speakers, lengths, CLASSES, splits=splits)


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a study makes of a corpus: trainings without a fold each, their average, and a taught model."""

    members: tuple[RIGSL, ...]
    teacher: Teacher
    taught: RIGSL

    @property
    def average(self) -> Average:
        return Average(self.members)


def make_answers(corpus: Corpus) -> Answers:
    folds, members, parts = train_folds(corpus, FOLDS), [], []
    for fold in range(FOLDS):
        held = np.flatnonzero(folds == fold)
        training = Training(CONFIG.replace(seed=fold), corpus, held_out=held)
        while not training.done:
            training.step()
        members.append(training.best_model())
        rows = corpus.rows(held)
        parts.append((rows, predict(members[-1], corpus)[rows]))
    teacher = Teacher.out_of_fold(parts, corpus)
    return Answers(tuple(members), teacher, fit(CONFIG, corpus, teacher=teacher).model)


def permuted(corpus: Corpus, split: str) -> Corpus:
    """The corpus with the labels of one split permuted."""
    labels, rows = corpus.labels.copy(), corpus.rows(corpus.dialogues(split))
    labels[rows] = np.random.default_rng(1).permutation(labels[rows])
    return dataclasses.replace(corpus, labels=labels)


CORPUS = make_corpus()


@pytest.fixture(scope="module")
def answers() -> Answers:
    return make_answers(CORPUS)


@pytest.fixture(scope="module")
def false_answers() -> Answers:
    """Those of a corpus whose training labels are permuted."""
    return make_answers(permuted(CORPUS, "train"))


def majority_and_noise() -> tuple[float, float]:
    """The accuracy of the majority class on test, and three standard errors of it."""
    labels = CORPUS.labels[CORPUS.rows(CORPUS.dialogues("test"))]
    share = float((labels == 0).mean())
    return share, 3 * np.sqrt(share * (1 - share) / len(labels))


def test_where_labels_are_permuted_neither_taught_nor_average_beats_the_majority_class(
    answers: Answers, false_answers: Answers
) -> None:
    majority, noise = majority_and_noise()
    for model, control in ((false_answers.taught, answers.taught), (false_answers.average, answers.average)):
        assert evaluate_model(model, CORPUS, "test").scores.accuracy < majority + noise
        learned = evaluate_model(control, CORPUS, "test").scores.accuracy
        assert learned > majority + noise, "with the true labels both do"


def test_where_labels_are_permuted_predictions_out_of_fold_do_not_know_them(
    false_answers: Answers,
) -> None:
    corpus = permuted(CORPUS, "train")
    rows = corpus.rows(corpus.dialogues("train"))
    predicted = false_answers.teacher.log_prob[rows].argmax(axis=1)
    share = (corpus.labels[rows] == 0).mean()
    assert (predicted == corpus.labels[rows]).mean() < share + 3 * np.sqrt(share * (1 - share) / len(rows))


@pytest.mark.parametrize("other", ["hidden", "permuted"])
def test_weights_and_predictions_are_the_same_whatever_the_labels_of_test_are(
    answers: Answers, other: str
) -> None:
    corpus = CORPUS.without_test_labels() if other == "hidden" else permuted(CORPUS, "test")
    again = make_answers(corpus)
    assert np.array_equal(train_folds(corpus, FOLDS), train_folds(CORPUS, FOLDS))
    assert np.array_equal(again.teacher.log_prob, answers.teacher.log_prob, equal_nan=True)
    assert again.teacher.digest == answers.teacher.digest
    models = zip((*answers.members, answers.taught), (*again.members, again.taught), strict=True)
    for first, second in models:
        weights, others = first.state_dict(), second.state_dict()
        assert all(torch.equal(weights[name], others[name]) for name in weights)
    for first, second in ((answers.taught, again.taught), (answers.average, again.average)):
        expected = log_probabilities(first, CORPUS, split="test")
        assert np.array_equal(log_probabilities(second, corpus, split="test"), expected)
