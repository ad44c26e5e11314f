"""Teachers: what one may hold, its file, which corpus it is for, and means of held-out predictions."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from rigsl.data.corpus import Corpus
from rigsl.data.tensor_file import write_arrays
from rigsl.errors import UserError
from rigsl.training.teacher import Teacher, hash_for_teachers
from tests.helpers.corpora import toy_corpus

CORPUS = toy_corpus()
TRAIN = CORPUS.rows(CORPUS.dialogues("train"))


def predictions(rows: np.ndarray, seed: int = 0, classes: int = 4) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(len(rows), classes))
    return np.asarray(log_softmax(logits, axis=1), dtype=np.float32)


def a_teacher(**changes: Any) -> Teacher:
    """Of all training utterances but the first one."""
    teacher = Teacher.out_of_fold([(TRAIN[1:], predictions(TRAIN[1:]))], CORPUS, origin="three folds")
    return dataclasses.replace(teacher, **changes)


# What one may hold


@pytest.mark.parametrize("weight", [0, -0.1, 1.01, 10**400, float("nan"), True, "0.5", None])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    with pytest.raises(UserError, match=r"^teacher 'three folds': weight is .* above 0 and at most 1$"):
        a_teacher(weight=weight)


@pytest.mark.parametrize("temperature", [0, -1, 1e-30, 1e30, float("inf"), False, "1"])
def test_a_temperature_that_is_none_is_refused(temperature: Any) -> None:
    with pytest.raises(UserError, match=r"^teacher 'three folds': temperature is .* from 0\.01 to 100$"):
        a_teacher(temperature=temperature)


@pytest.mark.parametrize("row", [[0.0] * 4, [np.nan, 0, -np.inf, -np.inf], [-np.inf] * 4, [np.inf] * 4])
def test_a_row_that_is_no_distribution_is_refused(row: list[float]) -> None:
    log_prob = a_teacher().log_prob.copy()
    log_prob[7] = row
    with pytest.raises(UserError, match="row 7 of log_prob is neither"):
        a_teacher(log_prob=log_prob)


@pytest.mark.parametrize("log_prob", [np.zeros(3), np.zeros((3, 1), dtype=np.int64), [["a"]]], ids=str)
def test_an_array_of_another_kind_is_refused(log_prob: Any) -> None:
    with pytest.raises(UserError, match=r"floating-point \[utterances, classes\]; make one"):
        Teacher(log_prob, "")


def test_certain_and_rounded_predictions_are_distributions() -> None:
    log_prob = a_teacher().log_prob.astype(np.float16)
    log_prob[3] = [0, -np.inf, -np.inf, -np.inf]
    teacher = a_teacher(log_prob=log_prob)
    assert teacher.log_prob.dtype == np.float32
    assert not teacher.log_prob.flags.writeable


# Its digest and its file


def test_the_digest_changes_with_all_that_a_training_reads_and_with_nothing_else() -> None:
    teacher = a_teacher()
    log_prob = teacher.log_prob.copy()
    log_prob[TRAIN[1]] = log_prob[TRAIN[1], ::-1]
    same = [a_teacher(), a_teacher(origin=""), a_teacher(weight=0.6), a_teacher(temperature=1)]
    others = [
        a_teacher(log_prob=log_prob),
        a_teacher(corpus_hash="x"),
        a_teacher(weight=0.5),
        a_teacher(temperature=2.0),
    ]
    assert {other.digest for other in same} == {teacher.digest}
    assert len({teacher.digest, *(other.digest for other in others)}) == 5


def test_the_file_holds_the_teacher_and_equal_teachers_give_equal_files(tmp_path: Path) -> None:
    teacher = a_teacher(weight=0.9, temperature=2)
    for name in ("a", "b"):
        teacher.save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded = Teacher.load(tmp_path / "a.safetensors")
    assert np.array_equal(loaded.log_prob, teacher.log_prob, equal_nan=True)
    assert loaded.corpus_hash == teacher.corpus_hash
    assert loaded.record == teacher.record
    assert (loaded.record.weight, loaded.record.temperature, loaded.record.origin) == (
        0.9,
        2.0,
        "three folds",
    )


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        Teacher.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_damaged_file_is_one_sentence_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    assert "No such file" in refused(path)
    teacher = a_teacher()
    teacher.save(path)
    whole, rng = path.read_bytes(), random.Random(0)
    start = len(whole) - teacher.log_prob.nbytes
    for cut in (0, 1, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert refused(path).endswith("make it again")
    for place in [
        *(rng.randrange(8) for _ in range(20)),  # the length of the header
        *(start + 16 * rng.choice(TRAIN[1:]) + rng.randrange(16) for _ in range(100)),  # the targets
    ]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(damaged))
        refused(path)
    for word in (b'weight\\": 0.6', b'temperature\\": 1.0', teacher.corpus_hash[:8].encode()):
        assert word in whole
        path.write_bytes(whole.replace(word, word[:-1] + b"5"))
        refused(path)


def test_a_header_without_an_end_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    assert "is damaged or not a teacher" in refused(path)


def test_a_file_of_another_kind_is_one_sentence(tmp_path: Path) -> None:
    CORPUS.save(tmp_path / "corpus.safetensors")
    assert "lacks log_prob, corpus_hash, weight" in refused(tmp_path / "corpus.safetensors")
    content = {"corpus_hash": 1, "weight": [], "temperature": {}, "origin": None, "digest": ""}
    write_arrays(tmp_path / "odd.safetensors", {"log_prob": a_teacher().log_prob}, content)
    assert "is not a text" in refused(tmp_path / "odd.safetensors")


# Its corpus


def test_it_is_for_its_corpus_whether_test_labels_are_hidden_or_not() -> None:
    hidden = CORPUS.without_test_labels()
    assert hash_for_teachers(hidden) == hash_for_teachers(CORPUS) == hidden.content_hash()
    teacher = Teacher.out_of_fold([(TRAIN, predictions(TRAIN))], hidden)
    assert teacher.digest == Teacher.out_of_fold([(TRAIN, predictions(TRAIN))], CORPUS).digest
    teacher.check(CORPUS)
    teacher.check(hidden)


def _with(corpus: Corpus, **changes: Any) -> Corpus:
    return dataclasses.replace(corpus, **changes)


@pytest.mark.parametrize(
    "other",
    [
        toy_corpus(seed=1, dialogues=30, longest=1),
        toy_corpus(classes=3),
        _with(CORPUS, labels=np.roll(CORPUS.labels, 1)),
        _with(CORPUS, splits=np.roll(CORPUS.splits, 1)),
        _with(CORPUS, classes=CORPUS.classes[::-1]),
    ],
    ids=["rows", "classes", "labels", "splits", "names of classes"],
)
def test_another_corpus_is_refused(other: Corpus) -> None:
    with pytest.raises(
        UserError, match=r"^teacher 'three folds': .*; make one .* rigsl\.Teacher\.out_of_fold"
    ):
        a_teacher().check(other)


def test_a_teacher_without_a_target_in_train_is_refused() -> None:
    log_prob = np.full_like(a_teacher().log_prob, np.nan)
    dev = CORPUS.rows(CORPUS.dialogues("dev"))
    log_prob[dev] = predictions(dev)
    teacher = a_teacher(log_prob=log_prob)
    with pytest.raises(UserError, match="has no target for an utterance to train on; make one"):
        teacher.check(CORPUS)
    teacher.check(CORPUS, np.concatenate([TRAIN, dev]))


def test_targets_are_those_of_the_rows_to_train_on() -> None:
    teacher = a_teacher(log_prob=predictions(np.arange(len(CORPUS.labels))))
    for rows in (TRAIN, TRAIN[4:9], CORPUS.rows(CORPUS.dialogues("dev"))):
        targets = teacher.targets(CORPUS, rows)
        assert np.array_equal(targets[rows], teacher.log_prob[rows])
        assert np.isnan(np.delete(targets, rows, axis=0)).all()


# Out of fold


def test_a_target_is_the_mean_probability_of_the_parts_that_have_the_row() -> None:
    parts = [(TRAIN[:6], predictions(TRAIN[:6])), (TRAIN[[5, 2, 9]], predictions(TRAIN[:3], seed=1))]
    teacher = Teacher.out_of_fold(parts, CORPUS, weight=0.4, temperature=3.0, origin="x")
    for row in range(len(CORPUS.labels)):
        found = [np.exp(log_prob[rows == row][0]) for rows, log_prob in parts if row in rows]
        expected = np.log(np.mean(found, axis=0)) if found else np.full(4, np.nan)
        np.testing.assert_allclose(teacher.log_prob[row], expected, rtol=1e-5)
    assert (teacher.weight, teacher.temperature, teacher.origin) == (0.4, 3.0, "x")
    teacher.check(CORPUS)


def test_predictions_of_half_precision_and_certain_ones_can_be_averaged() -> None:
    half = predictions(TRAIN[:2]).astype(np.float16)
    half[1] = [-np.inf, 0, -np.inf, -np.inf]
    teacher = Teacher.out_of_fold([(TRAIN[:2], half)], CORPUS)
    first, second = np.exp(teacher.log_prob[TRAIN[:2]])
    np.testing.assert_allclose(first, np.exp(predictions(TRAIN[:2])[0]), rtol=2e-3)
    assert first.sum() == pytest.approx(1, abs=1e-6), "rounding to float16 is mended"
    assert second.tolist() == [0, 1, 0, 0]


DEV = CORPUS.rows(CORPUS.dialogues("dev"))


@pytest.mark.parametrize(
    ("rows", "log_prob", "says"),
    [
        (DEV[:1], predictions(DEV[:1]), f"row {DEV[0]} is not in the training split"),
        (np.array([TRAIN[0], 10**6]), predictions(TRAIN[:2]), "row 1000000 is not in the training split"),
        (np.array([-1]), predictions(TRAIN[:1]), "row -1 is not in the training split"),
        (TRAIN[[0, 0]], predictions(TRAIN[:2]), "it has a row twice"),
        (TRAIN[:2], predictions(TRAIN[:3]), "not integers [n] and floating-point [n, 4]"),
        (TRAIN[:2], predictions(TRAIN[:2], classes=3), "not integers [n] and floating-point [n, 4]"),
        (TRAIN[:2].astype(float), predictions(TRAIN[:2]), "rows are float64 [2]"),
        (TRAIN[:2], np.exp(predictions(TRAIN[:2])), f"what it predicts for row {TRAIN[0]} is not log-prob"),
        (TRAIN[:1], np.full((1, 4), np.nan), f"what it predicts for row {TRAIN[0]} is not log-prob"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(rows: Any, log_prob: Any, says: str) -> None:
    good = (TRAIN, predictions(TRAIN))
    with pytest.raises(UserError) as error:
        Teacher.out_of_fold([good, (rows, log_prob)], CORPUS)
    assert str(error.value).startswith("part 1 of a teacher for test: ")
    assert says in str(error.value)


def test_a_teacher_of_nothing_is_refused() -> None:
    for parts in ([], [(TRAIN[:0], predictions(TRAIN[:0]))]):
        with pytest.raises(UserError, match="has no part with a row"):
            Teacher.out_of_fold(parts, CORPUS)
