"""A dataset's name leads to its corpus, or to a sentence that says why not."""

from __future__ import annotations

import dataclasses
import shlex
import shutil

import numpy as np
import pytest

from rigsl.data.own.columns import find_columns
from rigsl.data.source import DATA_DIR, dataset_name, features_in_words, find_corpus, load_corpus, open_path
from rigsl.data.tensor_file import write_arrays
from rigsl.errors import UserError
from tests.helpers.corpora import toy_corpus


@pytest.mark.parametrize(("name", "features"), [("MELD", "auto"), ("meld", "open"), ("Meld", "auto")])
def test_meld_is_there(name, features):
    assert load_corpus(name, features).name == "MELD-open-2"


@pytest.mark.parametrize(
    ("name", "features", "complaint"),
    [
        ("MELT", "auto", "unknown dataset 'MELT'; the datasets are MELD, IEMOCAP"),
        ("MELD", "best", "unknown feature set 'best'; choose one of auto, open, official"),
        ("IEMOCAP", "open", "no open features for IEMOCAP, and the official features of IEMOCAP are not in"),
    ],
)
def test_what_is_missing_is_named(name, features, complaint):
    with pytest.raises(UserError, match=complaint):
        load_corpus(name, features)


@pytest.mark.parametrize(
    ("name", "features", "files"),
    [
        ("MELD", "official", r"MELD_features_raw1\.pkl and meld_features_roberta\.pkl"),
        ("iemocap", "auto", r"IEMOCAP_features\.pkl and iemocap_features_roberta\.pkl"),
        ("IEMOCAP", "official", r"IEMOCAP_features\.pkl and iemocap_features_roberta\.pkl"),
    ],
)
def test_absent_official_files_are_named_with_their_place_and_source(name, features, files, tmp_path):
    with pytest.raises(
        UserError, match=rf"put {files} there .*'multimodal-features' in the README of github"
    ):
        load_corpus(name, features, tmp_path)


def test_another_folder_is_looked_at_and_named(tmp_path):
    with pytest.raises(UserError, match=r"meld_open\.safetensors: is not there; build it with `python -m"):
        load_corpus("MELD", "auto", tmp_path)


def test_two_thousand_altered_bytes_are_found(tmp_path):
    data = bytearray((DATA_DIR / "meld_open.safetensors").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(byte ^ 1 for byte in data[middle : middle + 2000])
    (tmp_path / "meld_open.safetensors").write_bytes(data)
    with pytest.raises(UserError, match=r"meld_open\.safetensors: is damaged \(its content does not match"):
        load_corpus("MELD", "open", tmp_path)


@pytest.fixture(scope="module")
def corpus():
    made = toy_corpus(dialogues=10, widths={"text": 6, "pulse": 3})
    return dataclasses.replace(made, name="Unofficial")


def test_a_corpus_file_in_the_data_folder_is_a_dataset(corpus, tmp_path):
    corpus.save(tmp_path / "Unofficial.safetensors")
    for name in ("Unofficial", "unofficial", "UNOFFICIAL"):
        assert dataset_name(name, tmp_path) == "Unofficial"
        for features in ("auto", "open"):
            assert load_corpus(name, features, tmp_path).content_hash() == corpus.content_hash()
        assert find_corpus(name, "auto", tmp_path)[1] == "open"
        assert open_path(name, tmp_path) == tmp_path / "Unofficial.safetensors"
    assert features_in_words(corpus, "open") == "open: text, pulse, from a corpus file"
    with pytest.raises(UserError, match="there are no official features of Unofficial"):
        load_corpus("Unofficial", "official", tmp_path)


def test_an_unknown_name_is_answered_with_the_known_ones(corpus, tmp_path):
    for name in ("mine", "Other"):
        corpus.save(tmp_path / f"{name}.safetensors")
    shutil.copy(DATA_DIR / "meld_open.safetensors", tmp_path)  # MELD's
    write_arrays(tmp_path / "mine_encoders.safetensors", {"weight": np.zeros(3)}, {})
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("nine", "meld_open"):
        with pytest.raises(UserError) as refused:
            load_corpus(name, "auto", tmp_path)
        assert str(refused.value) == (
            f"unknown dataset '{name}'; the datasets are MELD, IEMOCAP, Other, mine"
        )
    for name in ("../mine", "my corpus", ""):
        with pytest.raises(UserError, match="is not a name of a dataset: at most 64 letters"):
            load_corpus(name, "auto", tmp_path)


def test_what_is_no_corpus_is_named(tmp_path):
    write_arrays(tmp_path / "mine_encoders.safetensors", {"weight": np.zeros(3)}, {})
    with pytest.raises(UserError, match=r"mine_encoders\.safetensors: lacks .*it is not a corpus file"):
        load_corpus("mine_encoders", "auto", tmp_path)


def test_what_is_printed_for_a_path_or_column_with_spaces_can_be_pasted(tmp_path):
    with pytest.raises(UserError, match="is not there; build it with") as error:
        load_corpus("MELD", "open", tmp_path / "a folder")
    command = str(error.value).split("`")[1]
    assert shlex.split(command)[-1] == str(tmp_path / "a folder" / "meld_open.safetensors")
    with pytest.raises(UserError, match=r"choose one with --column 'text=Utterance Text'$"):
        find_columns(["Utterance Text", "message"], "talk.csv", chosen={})
