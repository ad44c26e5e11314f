"""`build-corpus --finetune`: emotions of a corpus of one's own, which know no label of their own dialogue."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rigsl
from rigsl.cli.main import main
from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.folds import folds_refused
from rigsl.data.open import fine_tuning
from rigsl.data.open.emotions import EMOTIONS, for_model, without_emotions
from rigsl.data.open.fine_tuned import FOLDS, LABELS_SEEN, UNLEARNED, encoders_path
from rigsl.data.open.meld import transcript_of
from rigsl.data.open.transcript_features import features_like
from rigsl.data.own import texts
from rigsl.data.own.texts import NOT_FINE_TUNED
from rigsl.errors import UserError
from tests.helpers.commands import refusal
from tests.helpers.own_files import CLASSES, transcript, vectors
from tests.helpers.tiny_encoder import write_tiny_encoder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="the encoder is not installed (pip install -e '.[features]')",
)
QUICK = rigsl.FineTuning(folds=2, repeats=1, epochs=2, rank=2, lr=0.03, batch_size=8)
OPTIONS = ["--finetune", "--folds=2", "--repeats=1", "--epochs=2", "--rank=2", "--lr=0.03", "--batch_size=8"]
NEXT = dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True))
DELIVERY = 44  #: columns without emotions


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(texts, "LEAST_TO_FINE_TUNE", 40)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # this process: others start slowly
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    talks().to_csv("talks.csv", index=False)
    return tmp_path


def talks() -> pd.DataFrame:
    """20 dialogues with their splits."""
    frame = transcript()
    frame["split"] = ["train"] * 56 + ["dev"] * 12 + ["test"] * 12
    return frame


def of_frame(frame: pd.DataFrame, encoder: Path, **more: object) -> Corpus:
    more = {"name": "TALKS", "encoder": str(encoder), "fine_tuning": QUICK} | more
    return Corpus.from_frame(frame, **more)  # type: ignore[arg-type]


def build(encoder: Path, *more: str) -> int:
    command = ["build-corpus", "--name", "TALKS", "--csv", "talks.csv", "--out", "data/TALKS.safetensors"]
    return main([*command, "--encoder", str(encoder), *OPTIONS, *more])


def emotions(corpus: Corpus) -> np.ndarray:
    return corpus.features["d"][:, DELIVERY:]


def test_files_and_a_data_frame_give_the_same_emotions(home, encoder, capsys):
    assert build(encoder) == 0
    corpus = Corpus.load(home / "data" / "TALKS.safetensors")
    shown = capsys.readouterr().out
    assert f"fine-tuned encoders, for transcripts: {Path('data/TALKS_encoders.safetensors')}" in shown
    assert emotions(corpus).shape == (80, len(CLASSES))
    assert corpus.provenance[EMOTIONS]["encoders"]["epochs"] == 2
    assert [len(folds) for folds in corpus.provenance[EMOTIONS][FOLDS]] == [14]
    assert corpus.provenance[EMOTIONS][LABELS_SEEN]["train"].startswith("out of fold")
    assert folds_refused(corpus, 2) == ""
    assert sorted(path.name for path in (home / "data").iterdir()) == [
        "TALKS.safetensors",
        "TALKS_encoders.safetensors",
    ]
    file = home / "made_encoders.safetensors"
    made = of_frame(talks(), encoder, encoders=str(file))
    assert made.content_hash() == corpus.content_hash()
    assert file.read_bytes() == encoders_path(home / "data" / "TALKS.safetensors").read_bytes()
    assert made.provenance[EMOTIONS] == corpus.provenance[EMOTIONS]
    assert not list(home.glob(".*"))
    assert main(["describe", "TALKS", "--data-dir", "data"]) == 0
    shown = capsys.readouterr().out
    assert "emotions, in delivery: of 2 fine-tuned encoders; " in shown
    assert "labels that the features saw: train: out of fold" in shown
    plain = of_frame(talks(), encoder, fine_tuning=None)
    assert without_emotions(corpus).content_hash() == plain.content_hash()
    assert for_model(corpus, plain.schema.widths).content_hash() == plain.content_hash()


def test_no_label_of_dev_and_test_is_read(encoder):
    other = talks()
    held = other["split"] != "train"
    other.loc[held, "emotion"] = other.loc[held, "emotion"].map(NEXT)
    one, two = of_frame(talks(), encoder), of_frame(other, encoder)
    assert not np.array_equal(one.labels, two.labels)
    for key, array in one.features.items():
        np.testing.assert_array_equal(array, two.features[key])


def test_an_interrupted_build_goes_on_and_gives_the_same(home, encoder, capsys, monkeypatch):
    fresh = of_frame(talks(), encoder)

    def save_once(*parts):
        saved(*parts)
        raise KeyboardInterrupt

    saved = fine_tuning._save
    monkeypatch.setattr(fine_tuning, "_save", save_once)
    assert build(encoder) == 130
    assert [path.name for path in (home / "data").iterdir()] == [".TALKS_encoders.fine-tuning"]
    monkeypatch.setattr(fine_tuning, "_save", saved)
    loaded = []
    load = fine_tuning._load
    monkeypatch.setattr(fine_tuning, "_load", lambda *parts: loaded.append(load(*parts)) or loaded[-1])
    assert build(encoder) == 0
    assert loaded == [1, 0]  # epochs of the two encoders that are not trained again
    assert Corpus.load(home / "data" / "TALKS.safetensors").content_hash() == fresh.content_hash()
    assert not list((home / "data").glob(".*"))


def test_a_model_predicts_a_transcript_with_the_encoders_beside_its_corpus(home, encoder, capsys):
    data = ["--dataset", "TALKS", "--data-dir", "data"]
    small = ["--epochs", "1", "--hidden_dim", "8", "--num_L", "1", "--num_K", "1", "--nb_features_dim", "4"]
    assert build(encoder) == 0
    assert main(["train", *data, "--out", "model", *small]) == 0
    corpus = Corpus.load(home / "data" / "TALKS.safetensors")
    rows = talks().rename(columns={"text": "Utterance", "speaker": "Speaker"})
    rows = rows.assign(label=-1, start=np.nan, end=np.nan, split=rows["split"].map(SPLITS.index))
    file = encoders_path(home / "data" / "TALKS.safetensors")
    made = features_like(corpus, transcript_of(rows), "ld", str(encoder), encoders=file)
    held = rows["split"] > 0  # of train the columns are out of fold, and those of a transcript are not
    for key, array in made.items():
        np.testing.assert_array_equal(array[held], corpus.features[key][held])
    (home / "talk.csv").write_text("who said,utterance\nRoss,you\nJoey,Oh NOOO!!\n", encoding="utf-8")
    predict = ["predict", "--checkpoint", "model", *data, "--csv", "talk.csv", "--encoder", str(encoder)]
    predict += ["--column", "speaker=who said", "--out", "out.csv"]
    assert main(predict) == 0
    assert list(pd.read_csv("out.csv").filter(like="p(")) == [f"p({name})" for name in CLASSES]
    file.unlink()
    capsys.readouterr()
    shown = refusal(main, predict, capsys)
    assert (
        "TALKS_encoders.safetensors: is not there, and features like those of corpus TALKS need it" in shown
    )


def test_a_small_corpus_keeps_the_vectors_of_the_encoder_and_says_why(home, encoder, capsys, monkeypatch):
    monkeypatch.setattr(texts, "LEAST_TO_FINE_TUNE", 57)
    assert build(encoder) == 0
    why = (
        "train has 56 utterances, and fine-tuned encoders help from 57 on; the corpus has the vectors of the"
    )
    assert f"note: no encoder was fine-tuned: {why}" in capsys.readouterr().out
    corpus = Corpus.load(home / "data" / "TALKS.safetensors")
    assert corpus.content_hash() == of_frame(talks(), encoder, fine_tuning=None).content_hash()
    assert [path.name for path in (home / "data").iterdir()] == ["TALKS.safetensors"]
    assert main(["describe", "TALKS", "--data-dir", "data"]) == 0
    assert f"no encoder was fine-tuned: {why}" in capsys.readouterr().out
    assert of_frame(talks(), encoder).provenance[NOT_FINE_TUNED].startswith(why)


def test_a_class_of_one_dialogue_is_unknown_to_the_encoder_without_it(home, encoder, capsys):
    frame = talks()
    frame.loc[[4, 5], "emotion"] = "awe"
    frame.to_csv("talks.csv", index=False)
    assert build(encoder) == 0
    corpus = Corpus.load(home / "data" / "TALKS.safetensors")
    assert corpus.provenance[EMOTIONS][UNLEARNED] == {"awe": 1}
    assert np.isfinite(emotions(corpus)).all()
    capsys.readouterr()
    assert main(["describe", "TALKS", "--data-dir", "data"]) == 0
    assert "class awe: 1 of 2 encoders learned from no utterance of it" in capsys.readouterr().out


def test_more_folds_than_dialogues_are_refused_and_leave_nothing(home, encoder, capsys):
    command = ["build-corpus", "--name", "TALKS", "--csv", "talks.csv", "--out", "data/TALKS.safetensors"]
    command += ["--encoder", str(encoder), "--finetune", "--folds", "15"]
    assert "14 training dialogues cannot be cut into 15 folds" in refusal(main, command, capsys)
    assert not list((home / "data").iterdir())


def test_the_largest_seed_and_a_place_for_the_encoders_that_is_none(home, encoder):
    largest = dataclasses.replace(QUICK, repeats=2, seed=2**32 - 1)
    assert len(of_frame(talks(), encoder, fine_tuning=largest).provenance[EMOTIONS][FOLDS]) == 2
    with pytest.raises(UserError, match="cannot be written"):
        of_frame(talks(), encoder, encoders=home / "talks.csv" / "encoders.safetensors")


def test_features_that_saw_labels_refuse_folds_of_train_whatever_the_emotions_are(encoder):
    corpus = of_frame(talks(), encoder, features={"audio": vectors()}, labels_seen=["train"])
    assert "in-sample" in folds_refused(corpus, 2)
