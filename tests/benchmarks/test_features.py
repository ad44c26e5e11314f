"""Pseudo-tests cut out of train, and which labels the columns of each construction have seen."""

from __future__ import annotations

import dataclasses
import importlib.util
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.features import constructions, encoders, sizes
from benchmarks.features.constructions import IN_SAMPLE, NESTED, NONE, ON_DEV, ON_FOLDS, OUT_OF_FOLD
from benchmarks.features.cuts import DEV, TEST, TRAIN, Cut, make_cuts, training_part
from benchmarks.features.learners import LEARNERS, cut_corpus, logistic_regression, train_all
from benchmarks.features.probe import probe_table
from benchmarks.features.tables import ROWS, table_of_constructions, table_of_sizes
from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.data.folds import NO_FOLD
from rigsl.data.open.emotions import EMOTIONS
from rigsl.data.open.fine_tuned import FOLDS
from rigsl.data.open.meld import CLASSES, Transcript
from rigsl.data.open.settings import FineTuning
from rigsl.data.source import load_corpus
from search.space.space import read_space
from tests.helpers.tiny_encoder import write_tiny_encoder

SETTINGS = FineTuning(folds=3, epochs=1, rank=2)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    from benchmarks.corpora import part_of

    whole = load_corpus("MELD", "open")
    return part_of(whole, whole.dialogues("train")[:60])


@pytest.fixture(scope="module")
def transcript(corpus: Corpus) -> Transcript:
    """The corpus's dialogues, and one of dev, with other words."""
    count = len(corpus.labels)
    times = np.arange(count + 1.0)
    return Transcript(
        utterances=("Oh, NOOO!!", "Well, what?") * (count // 2) + ("you",) * (1 + count % 2),
        labels=np.append(corpus.labels, 0),
        speakers=np.append(corpus.speakers, 0),
        start=times,
        end=times + 1,
        offsets=np.append(corpus.offsets, count + 1),
        splits=np.append(corpus.splits, np.uint8(DEV)),
        dialogue_ids=(*corpus.dialogue_ids, "dev_0"),
    )


@pytest.fixture(scope="module")
def train(transcript: Transcript) -> Transcript:
    return training_part(transcript)


@pytest.fixture(scope="module")
def cuts(train: Transcript) -> list[Cut]:
    return make_cuts(train, 3, SETTINGS.folds, seed=0)


def test_only_training_dialogues_are_cut(train, corpus):
    assert train.dialogue_ids == corpus.dialogue_ids
    assert len(train.utterances) == len(corpus.labels) == train.offsets[-1]


def test_a_cut_splits_whole_dialogues_and_the_tests_are_all_of_train(train, cuts):
    for cut in cuts:
        for begin, end in pairwise(train.offsets):
            assert len(set(cut.split[begin:end])) == len(set(cut.fold[begin:end])) == 1
        assert ((cut.fold == NO_FOLD) == (cut.split != TRAIN)).all()
        assert set(cut.fold[cut.split == TRAIN]) == set(range(SETTINGS.folds))
    assert (sum((cut.split == TEST).astype(int) for cut in cuts) == 1).all()


def test_what_the_encoders_of_a_column_have_seen(cuts, monkeypatch):
    cut = cuts[0]
    count, folds = len(cut.split), SETTINGS.folds

    # Each encoder's column is the set of folds that it learned from, as a bit mask; sets are joined by means
    # only outside the training rows.
    def read(folder: Path, encoder: encoders.Encoder) -> np.ndarray:
        assert (cut.split[encoder.rows] == TRAIN).all(), "dev and pseudo-test teach nobody"
        mask = sum(1 << fold for fold in set(cut.fold[encoder.rows]))
        return np.full((count, 1), float(mask))

    monkeypatch.setattr(encoders, "read", read)
    everything = (1 << folds) - 1
    for setup in constructions.setups(0, cut, SETTINGS, Path()):
        assert not (setup.train & setup.held).any()
        for fold in range(folds):
            rows = setup.train & (cut.fold == fold)
            if setup.columns is None or not rows.any():
                continue
            own, held = 1 << fold, 0 if setup.fold == NO_FOLD else 1 << setup.fold
            unseen = {IN_SAMPLE: 0, OUT_OF_FOLD: own, NESTED: own | held}[setup.construction]
            assert set(setup.columns[rows, 0]) == {float(everything & ~unseen)}
        if setup.construction == OUT_OF_FOLD and setup.validation == ON_FOLDS:
            rows = setup.held | (cut.split == TEST)
            assert set(setup.columns[rows, 0]) == {float(everything & ~(1 << setup.fold))}


def test_a_small_train_is_part_of_a_larger_one_and_nobody_sees_its_pseudo_test(train, cuts):
    small, large, other, _ = sizes.samples(train, cuts[:2], (60, 150))
    for sample, cut, size in ((small, cuts[0], 60), (large, cuts[0], 150), (other, cuts[1], 60)):
        assert np.array_equal(sample.split == TEST, cut.split == TEST)
        assert size <= (sample.split == TRAIN).sum() < size + 25
        assert size / 8 <= (sample.split == DEV).sum() < size / 8 + 25
        assert ((sample.fold == NO_FOLD) == (sample.split != TRAIN)).all()
        for fold, encoder in enumerate(sizes.needed_encoders(sample)):
            assert encoder.asked is not None
            assert set(sample.split[encoder.rows]) == {TRAIN}
            assert not np.isin(encoder.asked, encoder.rows).any()
            unseen = np.isin(sample.split, (DEV, TEST)) | (sample.fold == fold)
            assert np.array_equal(encoder.asked, np.flatnonzero(unseen))
    assert ((small.split != TRAIN) | (large.split == TRAIN)).all()


@pytest.mark.parametrize(("size", "epochs"), [(300, 96), (1200, 24), (2400, 12), (4800, 12)])
def test_rigsl_makes_as_many_steps_on_a_small_train(size, epochs):
    train = np.arange(5000) < size
    setup = constructions.Setup(0, NONE, ON_DEV, NO_FOLD, None, train, ~train)
    assert sizes.config_of(setup, RIGSLConfig(epochs=12)).epochs == epochs


def test_the_table_of_sizes(train, cuts, corpus, tmp_path):
    drawn = sizes.samples(train, cuts[:2], (60, 150))
    for one in drawn:
        for encoder in sizes.needed_encoders(one):
            values = np.full((len(train.labels), len(CLASSES)), np.nan, dtype=np.float16)
            values[encoder.asked] = np.eye(len(CLASSES))[train.labels[encoder.asked]]  # they know all labels
            np.save(tmp_path / f"{encoder.name}.npy", values)
    setups = [pair for number, one in enumerate(drawn) for pair in sizes.setups(number, one, tmp_path)]
    for setup in setups:
        if setup.columns is not None:
            used = setup.train | setup.held | (drawn[setup.cut].split == TEST)
            assert (setup.columns[used].argmax(axis=1) == train.labels[used]).all()
    tests = [one.split == TEST for one in drawn]
    predicted = logistic_regression(setups[3], tests[1], corpus)
    assert ((predicted >= 0) == (drawn[1].split >= 0)).all()
    right, wrong = train.labels, (train.labels + 1) % len(CLASSES)
    predictions = {
        (learner, index): wrong if setup.columns is None else right
        for learner in LEARNERS
        for index, setup in enumerate(setups)
    }
    *_, first, second = table_of_sizes(
        [60, 150, 60, 150], setups, tests, train.labels, predictions
    ).splitlines()
    assert first == "| 60 | 100.0 | 0.0 | 100.0 | +100.0, +100.0 | 0.0 | 100.0 | +100.0, +100.0 |"
    assert second.startswith("| 150 |")


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="the encoder is not installed (pip install -e '.[features]')",
)
def test_the_table_of_constructions_from_encoders_to_scores(train, cuts, corpus, tmp_path):
    base = write_tiny_encoder(tmp_path / "tiny")
    needed = [one for cut in cuts[:1] for one in constructions.needed_encoders(cut, SETTINGS)]
    assert len({one.name for one in needed}) == 1 + 3 + 3
    encoders.learn(needed, train, base, tmp_path / "encoders", "cpu", processes=1)
    assert encoders.read(tmp_path / "encoders", needed[0]).shape == (len(corpus.labels), len(CLASSES))
    setups = [
        setup
        for setup in constructions.setups(0, cuts[0], SETTINGS, tmp_path / "encoders")
        if setup.fold in (NO_FOLD, 0)
    ]
    assert {(setup.construction, setup.validation) for setup in setups} == set(ROWS)
    tests = [cut.split == TEST for cut in cuts[:1]]
    space = read_space(Path("spaces/meld_open.toml"))
    config = dataclasses.replace(space.config(space.starts[0], seed=0), epochs=1, hidden_dim=16)
    arguments = setups, tests, corpus, [config] * len(setups), tmp_path / "models", 1
    predictions = train_all(*arguments)
    for (_, index), predicted in predictions.items():
        assert ((predicted >= 0) == (setups[index].held | tests[0])).all()
    table = table_of_constructions(setups, tests, corpus.labels, predictions).splitlines()
    assert len(table) == 2 + len(ROWS)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "models").iterdir()}
    train_all(*arguments)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "models").iterdir()} == before


def test_the_corpus_of_a_cut_has_its_splits_and_columns(cuts, corpus):
    cut = cuts[0]
    columns = np.random.default_rng(0).normal(size=(len(cut.split), 7))
    train, held, test = (cut.split == part for part in (TRAIN, DEV, TEST))
    for given in (None, columns):
        name = NONE if given is None else OUT_OF_FOLD
        setup = constructions.Setup(0, name, ON_DEV, NO_FOLD, given, train, held)
        own = cut_corpus(setup, test, corpus)
        width = corpus.features["d"].shape[1] + (0 if given is None else 7)
        assert own.features["d"].shape == (len(cut.split), width)
        assert np.array_equal(own.labels[own.rows(own.dialogues("dev"))], corpus.labels[held])
        assert np.array_equal(own.labels[own.rows(own.dialogues("test"))], corpus.labels[test])


def test_the_probe_chooses_its_settings_without_the_labels_of_dev_and_test():
    from benchmarks.corpora import part_of

    whole = load_corpus("MELD", "open")
    dialogues = np.concatenate([whole.dialogues(split)[:40] for split in ("train", "dev", "test")])
    folds = {EMOTIONS: {FOLDS: [[index % 2 for index in range(40)]]}}
    corpus = dataclasses.replace(part_of(whole, dialogues), provenance=folds)
    train = np.repeat(corpus.splits == TRAIN, corpus.lengths)
    other = dataclasses.replace(corpus, labels=np.where(train, corpus.labels, 0))
    *rows, scores = probe_table(corpus).splitlines()
    *same, others = probe_table(other).splitlines()
    assert rows == same
    assert scores.partition("):")[0] == others.partition("):")[0]
    assert scores != others
