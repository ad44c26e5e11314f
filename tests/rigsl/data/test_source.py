"""A dataset's name leads to its corpus, or to a sentence that says why not."""

from __future__ import annotations

import pytest

from rigsl.data.source import DATA_DIR, load_corpus
from rigsl.errors import UserError


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
