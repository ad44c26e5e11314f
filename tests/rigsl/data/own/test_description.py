"""What `describe` prints and draws of a corpus."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rigsl.cli.main import main
from rigsl.data.corpus import Corpus
from rigsl.data.own.description import describe, prior_shift
from tests.helpers.commands import refusal
from tests.helpers.corpora import corpus_from_arrays
from tests.helpers.own_files import transcript, vectors


@pytest.fixture(scope="module")
def corpus():
    values = vectors()
    values[[3, 4]] = np.nan
    features = {"audio": values, "visual": vectors(width=2)}
    made = {"encoder": None, "missing": "mean", "licence": "CC BY 4.0\nand more", "labels_seen": ["train"]}
    return Corpus.from_frame(transcript(), features, name="TALKS", **made)


def test_sizes_classes_modalities_and_origin_are_shown(corpus):
    lines = list(describe(corpus))
    text = "\n".join(lines)
    assert lines[0] == "TALKS: 80 utterances of 20 dialogues, 3 classes"
    assert corpus.content_hash() in lines[1]
    assert "train          16          64               4        4               2" in lines
    assert "audio: [6], float16, given, standardised on train; 2 utterances without some of it" in text
    assert "visual: [2], float16, given, standardised on train" in lines
    assert "labels that the features saw: train: in-sample: the maker of the features says so" in lines
    assert "splits: drawn by dialogue, stratified by class, seed 0" in lines
    assert "command: Corpus.from_frame" in lines
    assert "licence: CC BY 4.0" in lines


@pytest.mark.parametrize(
    "provenance",
    [
        {"text": 5},
        {"splits": ["a"]},
        {"features": {"a": {}}},
        {"emotions": 5},
        {"emotions": {"encoders": {"rank": 8}}},
        {"versions": []},
        {"files_sha256": [1]},
        {"features": []},
    ],
    ids=str,
)
def test_a_provenance_of_others_may_say_anything(provenance):
    values = np.random.default_rng(0).normal(size=(4, 2))
    small = corpus_from_arrays({"a": values}, [0, 1, 0, 1], [0] * 4, [2, 2], classes=2)
    lines = list(describe(dataclasses.replace(small, provenance=provenance)))
    assert lines[-1].startswith("the provenance is damaged (")


def test_the_prior_shift_is_the_share_of_labels_that_would_have_to_change():
    labels = [0, 0, 1, 1, 0, 0, 0, 1, 2, 2]
    small = corpus_from_arrays(
        {"a": np.ones((10, 1))}, labels, [0] * 10, [4, 4, 2], classes=3, splits=[0, 1, 2]
    )
    assert prior_shift(small) == {"dev": 0.25, "test": 1.0}
    assert prior_shift(small.without_test_labels()) == {"dev": 0.25}


def test_the_bundled_corpus_is_described_too(capsys):
    assert main(["describe", "meld"]) == 0
    shown = capsys.readouterr().out
    assert "MELD-open-2: 13708 utterances of 1432 dialogues, 7 classes" in shown
    assert "train        1038        9989" in shown
    assert "labels that the features saw: train: out of fold: the encoders" in shown
    assert "text encoder: all-MiniLM-L6-v2" in shown


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture(corpus, suffix, tmp_path, capsys):
    corpus.save(tmp_path / "TALKS.safetensors")
    picture = tmp_path / f"talks.{suffix}"
    assert main(["describe", "TALKS", "--data-dir", str(tmp_path), "--picture", str(picture)]) == 0
    assert f"picture  {picture}" in capsys.readouterr().out
    assert picture.stat().st_size > 5000
    assert {path.name for path in tmp_path.iterdir()} == {"TALKS.safetensors", picture.name}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["NOWHERE"], "unknown dataset 'NOWHERE'"),
        (["x.safetensors"], "x.safetensors"),
        (
            ["meld", "--picture", "x.txt"],
            "x.txt: is not a picture by its name; choose one of .png, .svg, .pdf",
        ),
        (["meld", "--picture", "talks.csv/x.png"], "talks.csv/x.png: cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talks.csv").write_text("x")
    assert says in refusal(main, ["describe", *words], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["talks.csv"]
