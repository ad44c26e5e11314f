"""A corpus without a space of its own gets one that fits its size, its modalities and the machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from search.plan import checks, derived_space, speed
from search.plan.derived_space import UPDATES, DerivedSpace
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.plan.plan import Plan
from search.plan.speed import piece
from search.resources.workers import Workers
from search.run_folder import ROOT
from search.space.space import read_space
from tests.helpers.corpora import toy_corpus


@pytest.fixture
def of_speed(monkeypatch: pytest.MonkeyPatch):
    """Makes the machine so many times slower than the one of the estimate."""

    def set_speed(value: float) -> None:
        monkeypatch.setattr(derived_space, "core_speed", lambda config, corpus: value)

    set_speed(1.0)
    return set_speed


def derived(corpus: Corpus, workers: int = 2) -> DerivedSpace:
    return derived_space.derived_space(corpus, "mine", "open", lambda space: Workers(workers, "cpu"))


def corpus_of(dialogues: int, length: int, **widths: int) -> Corpus:
    """Dialogues of `length` utterances, 60 % of them to train on."""
    made = toy_corpus(dialogues=dialogues, widths=widths or {"l": 4})
    return dataclasses.replace(
        made,
        features={
            key: np.resize(array, (dialogues * length, *array.shape[1:]))
            for key, array in made.features.items()
        },
        labels=np.arange(dialogues * length) % 4,
        speakers=np.arange(dialogues * length) % 2,
        offsets=np.arange(dialogues + 1) * length,
        text=np.empty(0, dtype=np.uint8),
        text_offsets=np.zeros(dialogues * length + 1, dtype=np.int64),
    )


def test_a_corpus_of_the_size_of_meld_gets_its_space(of_speed) -> None:
    space = derived(corpus_of(1_730, 10, l=4, d=3)).space
    meld = read_space(ROOT / "spaces" / "meld_open.toml")
    assert space.parameters == meld.parameters
    assert space.starts == meld.starts
    assert space.fixed == meld.fixed
    assert (space.schedule, space.final) == (meld.schedule, meld.final)
    assert (space.dataset, space.features) == ("mine", "open")


def test_larger_corpora_get_wider_models_and_smaller_ones_more_epochs(of_speed) -> None:
    widths, epochs = [], []
    for dialogues in (10, 100, 1_000, 10_000):
        space = derived(corpus_of(dialogues, 10)).space
        widths.append(max(space.parameters["hidden_dim"].values))
        epochs.append(space.fixed["epochs"])
        train = dialogues * 3 // 5
        batch = space.starts[0]["batch_size"]
        assert batch in space.parameters["batch_size"].values
        updates = space.fixed["epochs"] * np.ceil(train / batch)
        assert epochs[-1] in (8, 60) or updates == pytest.approx(UPDATES, rel=0.1)
        assert 1 <= space.schedule.grace <= max(1, epochs[-1] // 3)
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] > epochs[-1]


def test_long_dialogues_get_small_batches(of_speed) -> None:
    assert derived(corpus_of(200, 10)).space.parameters["batch_size"].values == (4, 8, 16)
    assert derived(corpus_of(200, 200)).space.parameters["batch_size"].values == (1, 2)


def test_a_slow_machine_gets_more_minutes_and_then_narrower_models(of_speed) -> None:
    corpus = corpus_of(3_000, 12)
    minutes, widths = [], []
    for value in (0.1, 1.0, 100.0):
        of_speed(value)
        space = derived(corpus).space
        minutes.append(space.budgets["cpu"].minutes)
        widths.append(max(space.parameters["hidden_dim"].values))
    assert minutes == sorted(minutes)
    assert minutes[0] < minutes[1] < minutes[2] == derived_space.MAX_MINUTES
    assert widths[0] >= widths[2]
    of_speed(1.0)
    assert derived(corpus, workers=8).space.budgets["cpu"].minutes < minutes[1]
    more = corpus_of(3_000, 12, l=4, face=4, pulse=4, gaze=4)
    assert derived(more).space.budgets["cpu"].minutes > minutes[1]


def test_modalities_are_those_of_the_corpus_and_something_reads_the_order(of_speed) -> None:
    space = derived(corpus_of(50, 5, text=6, face=4, pulse=2)).space
    assert space.fixed["modals"] == "text,face,pulse"
    assert not space.config(space.starts[0], 0).av_using_lstm
    space = derived(corpus_of(50, 5, face=4, pulse=2)).space
    assert space.fixed["modals"] == "face,pulse"
    assert space.config(space.starts[0], 0).av_using_lstm


def test_the_text_of_the_space_is_the_space_and_says_where_it_comes_from(of_speed, tmp_path: Path) -> None:
    result = derived(corpus_of(50, 5, text=6, face=4))
    (tmp_path / "space.toml").write_text(result.space.text, encoding="utf-8")
    again = read_space(tmp_path / "space.toml")
    assert again == dataclasses.replace(result.space, path=again.path)
    assert result.space.text.startswith("# Derived from spaces/default.toml for mine\n# for 150 training")
    assert set(again.budgets) == {"cpu", "gpu"}
    assert "for 150 training utterances in 30 dialogues; text and face" in result.lines


def test_a_training_on_a_piece_of_the_corpus_measures_the_machine() -> None:
    corpus = corpus_of(40, 100, text=6, face=4)
    part = piece(corpus, 6)
    assert [len(part.dialogues(split)) for split in ("train", "dev", "test")] == [6, 2, 0]
    assert set(part.lengths) == {speed.LONGEST}
    first = part.dialogue_ids[0]
    start = corpus.offsets[corpus.dialogue_ids.index(first)]
    np.testing.assert_array_equal(part.features["face"][:40], corpus.features["face"][start : start + 40])
    config = RIGSLConfig(modals="text,face", hidden_dim=8, num_L=1, num_K=1, nb_features_dim=4, batch_size=1)
    assert 0 < speed.core_speed(config, corpus) < 1_000


def made(home: Path, corpus: Corpus, **options) -> Plan:
    corpus.save(home / "data" / "mine.safetensors")
    defaults = {"dataset": "mine", "data_dir": home / "data", "tracking_uri": f"sqlite:///{home}/mlflow.db"}
    return prepare(SearchOptions(**defaults | options))


def test_the_projects_own_space_is_taken_where_there_is_one(
    home: Path, of_speed, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = toy_corpus(widths={"text": 6, "face": 4})
    plan = made(home, corpus)
    assert plan.derived
    spaces = home / "spaces"
    spaces.mkdir()
    text = plan.space.text.replace("epochs = 60", "epochs = 7")
    (spaces / "Mine.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(checks, "ROOT", home)
    plan = made(home, corpus)
    assert (plan.epochs, plan.space.path, plan.derived) == (7, spaces / "Mine.toml", ())
    (spaces / "mine_open.toml").write_text(text.replace("epochs = 7", "epochs = 5"), encoding="utf-8")
    assert made(home, corpus).epochs == 5
    assert made(home, corpus, space=spaces / "Mine.toml").epochs == 7


def test_a_corpus_without_a_split_is_refused_before_anything_is_measured(home: Path) -> None:
    corpus = toy_corpus(widths={"text": 6})
    whole = dataclasses.replace(corpus, splits=np.zeros_like(corpus.splits))
    with pytest.raises(UserError, match="needs labelled dialogues in train, dev and test"):
        made(home, whole)
