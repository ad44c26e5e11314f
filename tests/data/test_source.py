"""A dataset's name leads to its corpus, or to a sentence that says why not."""

from __future__ import annotations

import pytest

from rigsl.data.source import load_corpus
from rigsl.errors import UserError


@pytest.mark.parametrize(("name", "features"), [("MELD", "auto"), ("meld", "open"), ("Meld", "auto")])
def test_meld_is_there(name, features):
    assert load_corpus(name, features).name == "MELD-open"


@pytest.mark.parametrize(
    ("name", "features", "complaint"),
    [
        ("MELT", "auto", "'MELT' is not a dataset; the datasets are MELD, IEMOCAP"),
        ("MELD", "best", "'best' are no features; choose one of auto, open, official"),
        ("MELD", "official", "not readable by this version; use --features open"),
        ("IEMOCAP", "auto", "no open features for IEMOCAP"),
        ("iemocap", "open", "no open features for IEMOCAP"),
        ("IEMOCAP", "official", "not readable by this version"),
    ],
)
def test_what_is_not_there_is_said(name, features, complaint):
    with pytest.raises(UserError, match=complaint):
        load_corpus(name, features)


def test_another_folder_is_looked_at_and_named(tmp_path):
    with pytest.raises(UserError, match=r"meld_open\.safetensors: is not there; make it by"):
        load_corpus("MELD", "auto", tmp_path)
