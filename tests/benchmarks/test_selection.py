"""Pseudo-tests: quarters of train, and trainings that never see what they are judged on."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.selection import command, pool, quarters, tables, teaching, trainings
from benchmarks.selection.quarters import WHOLE, Part, parts, quarter_of_dialogue
from benchmarks.selection.tables import Measured
from benchmarks.selection.trainings import SelectionTraining, read, space, train
from rigsl.data.corpus import HIDDEN
from tests.helpers.toy_study import make_corpus


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small corpus, short trainings, and folders of its own."""
    whole = space()
    short = dataclasses.replace(whole, fixed={**whole.fixed, "epochs": 2})
    monkeypatch.setattr(trainings, "space", lambda: short)
    monkeypatch.setattr(quarters, "load_corpus", lambda dataset, features: make_corpus())
    monkeypatch.setattr(trainings, "TRAININGS", tmp_path / "trainings")
    monkeypatch.setattr(trainings, "SEALED", tmp_path / "sealed")
    for cached in (quarters.corpus, quarters.corpus_with_test, quarter_of_dialogue):
        cached.cache_clear()
    yield
    for cached in (quarters.corpus, quarters.corpus_with_test, quarter_of_dialogue):
        cached.cache_clear()


def test_quarters_are_alike_and_cover_train() -> None:
    corpus, found = quarters.corpus(), quarter_of_dialogue()
    train_dialogues = corpus.dialogues("train")
    assert set(found[train_dialogues]) == {0, 1, 2, 3}
    assert (np.delete(found, train_dialogues) == -1).all()
    counts = [np.bincount(corpus.labels[corpus.rows(np.flatnonzero(found == one))]) for one in range(4)]
    assert np.ptp([count.sum() for count in counts]) < 20
    assert np.ptp([count / count.sum() for count in counts], axis=0).max() < 0.01


def test_a_part_holds_out_what_it_does_not_learn_from() -> None:
    corpus, found = quarters.corpus(), quarter_of_dialogue()
    assert [len(parts(size)) for size in (2, 3, 4)] == [6, 4, 1]
    held_out = Part((0, 2)).held_out()
    assert set(found[held_out]) == {1, 3}
    learned = np.setdiff1d(corpus.dialogues("train"), held_out)
    assert set(found[learned]) == {0, 2}


def test_test_labels_are_hidden() -> None:
    corpus = quarters.corpus()
    assert (corpus.labels[corpus.rows(corpus.dialogues("test"))] == HIDDEN).all()


@pytest.mark.usefixtures("toy")
def test_a_training_keeps_its_predictions_of_every_epoch() -> None:
    job = SelectionTraining(0, space().starts[0], Part((0, 1, 3)), 0)
    done: list[int] = []
    train(job, done.append)
    assert done == [1]
    kept = read(job.path)
    corpus = quarters.corpus()
    predicted = np.concatenate([job.part.held_out(), corpus.dialogues("dev")])
    assert np.array_equal(kept.rows, np.sort(corpus.rows(predicted)))
    assert kept.log_prob.shape == (2, len(kept.rows), len(corpus.classes))
    assert np.exp(kept.log_prob.astype(float)).sum(axis=2) == pytest.approx(1, abs=0.01)
    assert kept.seconds > 0
    assert not job.sealed_path.exists()


@pytest.mark.usefixtures("toy")
def test_the_command_goes_on_and_proposes_by_dev_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "RANDOM", 3)
    monkeypatch.setattr(pool, "ROUND", 2)
    command.measure(8, 1, 1)
    known = pool.known_configurations()
    assert known[: len(space().starts)] == list(space().starts)
    assert len(known) == 9, "whole rounds"
    best = max(range(9), key=pool.dev_score)
    names = {path.name for path in trainings.TRAININGS.iterdir()}
    assert {name[:4] for name in names if "_0123_0" not in name} == {f"{best:04d}"}
    assert len(names) == 9 + 4 + 6 + 1
    assert {path.name for path in trainings.SEALED.iterdir()} == {name for name in names if "_0123_" in name}
    written = {path: path.stat().st_mtime_ns for path in trainings.TRAININGS.iterdir()}
    command.measure(8, 1, 1)
    assert {path: path.stat().st_mtime_ns for path in trainings.TRAININGS.iterdir()} == written
    assert SelectionTraining(0, {}, WHOLE, 0).path in written


@pytest.mark.usefixtures("toy")
def test_tables_and_taught_trainings_follow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pool, "RANDOM", 1)
    monkeypatch.setattr(command, "random_configurations", lambda: list(space().starts[:2]))
    monkeypatch.setattr(teaching, "TEACHINGS", ((0.5, 1.0),))
    monkeypatch.setattr(command, "TEACHINGS", ((0.5, 1.0),))
    monkeypatch.setattr(command, "TAUGHT", 1)
    command.measure(2, 2, 1)
    tables.write_tables(tmp_path)
    monkeypatch.setattr(Measured, "read", partial(Measured.read, tmp_path))
    command.measure_taught(1)
    assert len(list(trainings.TRAININGS.glob("*_taught_0.5_1.safetensors"))) == 4
    assert tables.write_tables(tmp_path) == 2 * (1 + 4 + 6 + 1) + 4
    scores = teaching.taught_scores(Measured.read())
    assert sorted(scores["quarter"]) == [0, 1, 2, 3]
    sealed = pd.read_parquet(tmp_path / tables.SEALED_CURVES)
    assert set(sealed["part"]) == {"0123"}
    assert sealed["test"].between(0, 1).all()
