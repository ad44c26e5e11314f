"""MELD's CSV files are read in dialogue order, repaired, and refused by file, row and column."""

from __future__ import annotations

import numpy as np
import pytest

from rigsl.data.open.meld import CLASSES, read_meld, repaired
from rigsl.errors import UserError
from tests.helpers.transcripts import HEADER, ROWS, write_csvs


def test_rows_come_in_the_order_of_the_dialogue(tmp_path):
    transcript = read_meld(write_csvs(tmp_path))
    assert transcript.dialogue_ids == ("train_0", "train_4", "dev_0", "dev_4", "test_0", "test_4")
    assert transcript.offsets.tolist() == [0, 4, 5, 9, 10, 14, 15]
    assert transcript.splits.tolist() == [0, 0, 1, 1, 2, 2]
    assert transcript.utterances[:5] == ("I\u2019m fine…", "Oh, NOOO!!", "Well, what?", "you", "None")
    emotions = [CLASSES[label] for label in transcript.labels[:5]]
    assert emotions == ["neutral", "joy", "surprise", "fear", "anger"]
    assert transcript.speakers[:5].tolist() == [0, 1, 1, 0, 0]
    assert transcript.start[:2].tolist() == [1.0, 2.0]
    assert (transcript.start[4], transcript.end[4]) == (60.5, 62.0)


def test_labels_are_in_the_official_order():
    assert CLASSES == ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("I\x92m", "I\u2019m"),
        ("donâ€™t", "don\u2019t"),
        ("cafÃ© \x85  so", "café … so"),
        ("â€\x9d", "”"),
        ("Ãâ stays", "Ãâ stays"),
        ("façade “ok”", "façade “ok”"),
    ],
)
def test_decoding_errors_are_repaired(text, meant):
    assert repaired(text) == meant


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (ROWS[1].replace("joy", "bliss"), r"row 2: Emotion 'bliss' is not one of neutral, "),
        (ROWS[1].replace("00:00:03,000", "soon"), r"row 2: EndTime 'soon' is not a time"),
        (ROWS[1].replace("positive,0,", "positive,x,"), r"row 2: Dialogue_ID 'x' is not a whole number"),
        (ROWS[2], r"row 3: Utterance_ID '0' comes twice"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, complaint):
    write_csvs(tmp_path)
    (tmp_path / "dev_sent_emo.csv").write_text("\n".join([HEADER, ROWS[0], row, *ROWS[2:]]), encoding="utf-8")
    with pytest.raises(UserError, match=r"dev_sent_emo\.csv, " + complaint):
        read_meld(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is not a CSV file"),
        (HEADER, "has no rows"),
        ("\n".join([HEADER, ROWS[0].replace("None", "No\0ne")]), "holds NUL bytes"),
        (HEADER.replace("Speaker,", "") + "\n1,2", "lacks the column Speaker"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, complaint):
    write_csvs(tmp_path)
    (tmp_path / "test_sent_emo.csv").write_text(content)
    with pytest.raises(UserError, match=r"test_sent_emo\.csv: " + complaint):
        read_meld(tmp_path)


def test_a_missing_file_is_named_with_its_source(tmp_path):
    with pytest.raises(UserError, match=r"train_sent_emo\.csv: cannot be read .*declare-lab/MELD"):
        read_meld(tmp_path)


def test_a_file_in_cp1252_is_read(tmp_path):
    write_csvs(tmp_path)
    path = tmp_path / "dev_sent_emo.csv"
    path.write_bytes(path.read_text(encoding="utf-8").encode("cp1252"))
    assert read_meld(tmp_path).utterances[5] == "I'm fine'"
    assert np.isfinite(read_meld(tmp_path).end).all()
