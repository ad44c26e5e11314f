"""Training with a teacher: what is learned from it, what is never read, and that no label leaks."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.data.folds import train_folds
from rigsl.errors import UserError
from rigsl.training.checkpoint import read_teacher
from rigsl.training.evaluation import evaluate, predict
from rigsl.training.fit import FitResult, fit
from rigsl.training.teacher import Teacher
from rigsl.training.trainer import EpochReport, Training
from search.run_folder import ROOT
from tests.helpers.corpora import toy_corpus

CONFIG = RIGSLConfig(
    modals="ld", hidden_dim=16, num_L=1, num_K=1, gumbel_k=2, nb_features_dim=8, nodeformer_heads=2,
    dropout=0.1, nodeformer_dropout=0.1, denoise_dropout=0.1, epochs=4, lr=1e-2, batch_size=4,
)  # fmt: skip
CORPUS = toy_corpus(dialogues=40)
TRAIN = CORPUS.rows(CORPUS.dialogues("train"))


def certain(labels: np.ndarray, classes: int = 4) -> np.ndarray:
    """Log-probabilities of predictions without doubt."""
    return np.log(np.eye(classes, dtype=np.float32)[labels].clip(1e-20))


def said(labels: np.ndarray, rows: np.ndarray = TRAIN, weight: float = 0.6) -> Teacher:
    """A teacher that predicts these labels [U] for these rows."""
    return Teacher.out_of_fold([(rows, certain(labels[rows]))], CORPUS, weight=weight)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """Of two thirds of the training utterances, with doubts."""
    rows = TRAIN[np.arange(len(TRAIN)) % 3 > 0]
    log_prob = np.log(0.7 * np.exp(certain(CORPUS.labels[rows])) + 0.3 / 4)
    return Teacher.out_of_fold([(rows, log_prob)], CORPUS, temperature=2.0)


@pytest.fixture(scope="module")
def result(teacher: Teacher) -> FitResult:
    return fit(CONFIG, CORPUS, teacher=teacher)


def numbers(report: EpochReport | None) -> EpochReport:
    assert report is not None
    return dataclasses.replace(report, seconds=0.0)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


# What is learned


def test_a_teacher_that_says_the_labels_changes_nothing() -> None:
    """Its cross entropy is the task loss, without class weights and focus."""
    config = CONFIG.replace(class_weight="none", focal_gamma=0.0, epochs=2)
    plain, taught = (fit(config, CORPUS, teacher=which).history for which in (None, said(CORPUS.labels)))
    for ours, theirs in zip(taught, plain, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
        assert ours.task_loss == pytest.approx(theirs.task_loss, rel=1e-4)


def test_a_model_learns_what_its_teacher_says_of_each_utterance() -> None:
    other = (CORPUS.labels + 1) % 4
    model = fit(CONFIG.replace(epochs=8), CORPUS, teacher=said(other, weight=1.0)).model
    predicted = predict(model, CORPUS).argmax(axis=1)
    assert (predicted[TRAIN] == other[TRAIN]).mean() > 0.7
    assert (predicted[TRAIN] == CORPUS.labels[TRAIN]).mean() < 0.25


def test_the_task_loss_stays_that_of_the_labels(teacher: Teacher) -> None:
    """In an epoch of one batch both trainings predict the same, for neither has learned anything yet."""
    config = CONFIG.replace(batch_size=100, penalty_weight_coff=0.0, link_loss_coff=0.0)
    plain, taught = Training(config, CORPUS).step(), Training(config, CORPUS, teacher=teacher).step()
    assert taught.task_loss == plain.task_loss == plain.train_loss
    assert taught.train_loss != taught.task_loss


def test_a_teacher_without_a_row_of_the_batch_leaves_it_the_task_loss() -> None:
    config, teacher = CONFIG.replace(penalty_weight_coff=0.0), said(CORPUS.labels, TRAIN[-1:])
    plain, taught = (Training(config, CORPUS, teacher=which) for which in (None, teacher))
    without_target = CORPUS.dialogues("train")[:3]
    for seed in range(3):
        losses = []
        for training in (plain, taught):
            torch.manual_seed(seed)
            losses.append(training.train_on(without_target, 0.1))
        assert torch.equal(*losses)
    assert same(taught.model, plain.model)
    with_target = CORPUS.dialogues("train")[-1:]
    loss, task, *_ = taught.train_on(with_target, 0.0)
    assert loss != task


# What is never read


def test_targets_of_dev_and_test_are_never_read(teacher: Teacher, result: FitResult) -> None:
    poisoned = teacher.log_prob.copy()
    others = np.setdiff1d(np.arange(len(CORPUS.labels)), TRAIN)
    poisoned[others] = certain((CORPUS.labels[others] + 1) % 4)
    again = fit(CONFIG, CORPUS, teacher=dataclasses.replace(teacher, log_prob=poisoned))
    assert [*map(numbers, again.history)] == [*map(numbers, result.history)]
    assert same(again.model, result.model)


def test_test_labels_are_not_needed(teacher: Teacher, result: FitResult) -> None:
    hidden = fit(CONFIG, CORPUS.without_test_labels(), teacher=teacher)
    assert [*map(numbers, hidden.history)] == [*map(numbers, result.history)]
    assert same(hidden.model, result.model)


def test_the_teacher_of_another_corpus_is_refused(teacher: Teacher) -> None:
    with pytest.raises(UserError, match="was made for another corpus than test"):
        Training(CONFIG, toy_corpus(dialogues=40, widths={"l": 9, "d": 5}), teacher=teacher)
    with pytest.raises(UserError, match="has no target for an utterance to train on"):
        Training(CONFIG, CORPUS, train=("dev",), validation="train", teacher=teacher)


def test_targets_of_a_fold_that_is_held_out_are_never_read() -> None:
    held = CORPUS.dialogues("train")[::3]
    rows = CORPUS.rows(held)
    with pytest.raises(UserError, match="has no target for an utterance to train on"):
        Training(CONFIG, CORPUS, held_out=held, teacher=said(CORPUS.labels, rows))
    poisoned = CORPUS.labels.copy()
    poisoned[rows] = (poisoned[rows] + 1) % 4
    reports = [
        Training(CONFIG, CORPUS, held_out=held, teacher=said(labels)).step()
        for labels in (CORPUS.labels, poisoned)
    ]
    assert numbers(reports[0]) == numbers(reports[1])


def _out_of_fold(config: RIGSLConfig, corpus: Corpus, folds: int) -> tuple[Teacher, np.ndarray]:
    """A teacher of trainings without one fold each, and their probabilities in-sample [U, 4]."""
    fold_of, parts, in_sample = train_folds(corpus, folds), [], np.zeros((len(corpus.labels), 4))
    for fold in range(folds):
        held = np.flatnonzero(fold_of == fold)
        training = Training(config, corpus, held_out=held)
        while not training.done:
            training.step()
        log_prob = predict(training.best_model(), corpus)
        parts.append((corpus.rows(held), log_prob[corpus.rows(held)]))
        learned = corpus.rows(np.setdiff1d(corpus.dialogues("train"), held))
        in_sample[learned] += np.exp(log_prob[learned])
    return Teacher.out_of_fold(parts, corpus), in_sample


def test_permuted_labels_do_not_reach_a_teacher_out_of_fold() -> None:
    """No feature explains these labels: whoever predicts them has read them, as models in-sample have."""
    labels = np.random.default_rng(3).permutation(CORPUS.labels)
    corpus = dataclasses.replace(CORPUS, labels=labels)
    config = CONFIG.replace(epochs=20, dropout=0.0, denoise_dropout=0.0, nodeformer_dropout=0.0)
    teacher, in_sample = _out_of_fold(config, corpus, 2)
    taught = evaluate(fit(config, corpus, teacher=teacher).model, corpus, "test").scores
    tested = corpus.rows(corpus.dialogues("test"))
    chance, deviations = 1 / 4, 3 * np.sqrt(3 / 16 / np.array([len(TRAIN), len(tested)]))
    assert (in_sample[TRAIN].argmax(axis=1) == labels[TRAIN]).mean() > 0.6
    assert (teacher.log_prob[TRAIN].argmax(axis=1) == labels[TRAIN]).mean() < chance + deviations[0]
    assert taught.accuracy < chance + deviations[1]


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "model.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "data").mkdir()
    CORPUS.save(tmp_path / "data" / "meld_open.safetensors")
    assert "epochs=10" in code
    names: dict[str, Any] = {}
    exec(code.replace("epochs=10", "epochs=1"), names)
    assert len(names["parts"]) == 10
    assert (names["teacher"].taught_rows(CORPUS) == TRAIN).all()
    assert Teacher.load("teacher.safetensors").record == read_teacher("models/taught")


# Continued


def test_a_resumed_training_goes_on_bit_for_bit(teacher: Teacher, result: FitResult, tmp_path: Path) -> None:
    training = Training(CONFIG, CORPUS, teacher=teacher)
    training.step()
    training.step()
    training.save(tmp_path / "state.pt")
    same_teacher = dataclasses.replace(teacher, origin="a copy")
    resumed = Training.load(tmp_path / "state.pt", CORPUS, teacher=same_teacher)
    while not resumed.done:
        resumed.step()
    assert numbers(resumed.last_report) == numbers(result.history[-1])
    assert same(resumed.best_model(), result.model)


def test_a_training_goes_on_with_its_own_teacher_only(teacher: Teacher, tmp_path: Path) -> None:
    other = dataclasses.replace(teacher, weight=0.5)
    for name, began in {"taught": teacher, "plain": None}.items():
        Training(CONFIG, CORPUS, teacher=began).save(tmp_path / name)
    own, theirs = (f"the teacher with the digest {which.digest[:12]}" for which in (teacher, other))
    for name, given, says in (
        ("taught", other, f"has {own} and cannot go on with {theirs}; go on as"),
        ("taught", None, f"has {own} and cannot go on with no teacher; go on as"),
        ("plain", teacher, f"has no teacher and cannot go on with {own}; go on as"),
    ):
        with pytest.raises(UserError) as error:
            Training.load(tmp_path / name, CORPUS, teacher=given)
        assert str(error.value).startswith(f"{tmp_path / name}: the training {says}")


def test_a_state_that_says_nothing_of_a_teacher_had_none(tmp_path: Path) -> None:
    training = Training(CONFIG, CORPUS)
    state = training.snapshot()
    del state["teacher"]
    torch.save(state, tmp_path / "state.pt")
    assert numbers(Training.load(tmp_path / "state.pt", CORPUS).step()) == numbers(training.step())


def test_another_configuration_goes_on_with_the_teacher(teacher: Teacher) -> None:
    history = fit(CONFIG, CORPUS, teacher=teacher, lineage=[(CONFIG.replace(lr=1e-3), 2)]).history
    training = Training(CONFIG.replace(lr=1e-3), CORPUS, teacher=teacher)
    reports = [training.step(), training.step()]
    training = training.with_config(CONFIG)
    assert training.teacher is teacher
    reports += [training.step(), training.step()]
    assert [*map(numbers, reports)] == [*map(numbers, history)]
    without = fit(CONFIG, CORPUS, lineage=[(CONFIG.replace(lr=1e-3), 2)]).history
    assert without[-1].train_loss != history[-1].train_loss
