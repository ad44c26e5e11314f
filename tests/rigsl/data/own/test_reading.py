"""A transcript in any format is the same table, and its columns are found by their usual names."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from rigsl.data.own.columns import find_columns
from rigsl.data.own.reading.cells import as_name, as_text
from rigsl.data.own.reading.tables import read_table, table_of
from rigsl.data.own.utterances import read_utterances
from rigsl.errors import UserError

ROWS = [
    {"dialogue": "a", "speaker": "Zoë", "text": "None", "label": "joy"},
    {"dialogue": "a", "speaker": "Al", "text": 'She said "hi", twice', "label": "anger"},
    {"dialogue": "b", "speaker": "Al", "text": "two\nlines", "label": "joy"},
]
SEEN = [("a", "0", "Zoë", "None", "joy"), ("a", "1", "Al", 'She said "hi", twice', "anger")]
SEEN += [("b", "0", "Al", "two lines", "joy")]


def seen(table, chosen=None, **more):
    rows = read_utterances([table], chosen or {}, **more).rows
    names = ["dialogue", "utterance", "speaker", "text", "label"]
    return list(rows[names].itertuples(index=False, name=None))


def written(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


WRITERS = {
    "talks.csv": lambda frame, path: frame.to_csv(path, index=False),
    "marked.csv": lambda frame, path: frame.to_csv(path, index=False, encoding="utf-8-sig"),
    "utf16.csv": lambda frame, path: frame.to_csv(path, index=False, encoding="utf-16"),
    "utf32.csv": lambda frame, path: frame.to_csv(path, index=False, encoding="utf-32"),
    "semicolons.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "talks.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "talks.json": lambda frame, path: frame.to_json(path, orient="records"),
    "talks.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "talks.parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_the_same_table(name, tmp_path):
    WRITERS[name](pd.DataFrame(ROWS), tmp_path / name)
    assert seen(read_table(tmp_path / name)) == SEEN


def test_a_named_encoding(tmp_path):
    path = written(tmp_path / "talks.csv", pd.DataFrame(ROWS).to_csv(index=False), "cp1252")
    assert seen(read_table(path, "cp1252")) == SEEN


def test_a_data_frame_of_any_index_and_types():
    frame = pd.DataFrame(ROWS, index=[5, 5, 7]).astype("category")
    assert seen(table_of(frame)) == SEEN
    assert list(frame.index) == [5, 5, 7]


def test_rows_are_numbered_as_in_the_file(tmp_path):
    path = written(tmp_path / "talks.csv", "dialogue,speaker,text,label\n\na,A,hi,joy\n,,,\na,,ho,joy\n")
    with pytest.raises(UserError, match=r"talks\.csv, row 4: speaker '' is empty"):
        seen(read_table(path))


@pytest.mark.parametrize(
    ("content", "dialogues"),
    [
        ([ROWS[:2], ROWS[2:]], ["a", "b"]),
        ([[{**row, "dialogue": None} for row in ROWS[:2]]], None),
        ({"x": ROWS[:2], "y": ROWS[2:]}, ["a", "b"]),
    ],
)
def test_json_of_lists(content, dialogues, tmp_path):
    path = written(tmp_path / "talks.json", json.dumps(content))
    if dialogues is None:
        with pytest.raises(UserError, match="row 1: dialogue '' is empty"):
            seen(read_table(path))
    else:
        assert [row[0] for row in seen(read_table(path))] == ["a", "a", "b"]


def _bare(row):
    return {key: value for key, value in row.items() if key != "dialogue"}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"one": [_bare(row) for row in ROWS[:2]], "two": [_bare(ROWS[2])]}, ["one", "one", "two"]),
        ({"one": [[_bare(row) for row in ROWS[:2]]], "two": [[_bare(ROWS[2])]]}, ["one/0", "one/0", "two/0"]),
        (
            {
                "meta": {"version": 1},
                "dialogues": [{"turns": [_bare(r) for r in ROWS[:2]]}, {"turns": [_bare(ROWS[2])]}],
            },
            ["dialogues/0/turns", "dialogues/0/turns", "dialogues/1/turns"],
        ),
        (
            {"one": {"u1": _bare(ROWS[0]), "u2": _bare(ROWS[1])}, "two": {"u1": _bare(ROWS[2])}},
            ["one", "one", "two"],
        ),
    ],
)
def test_a_dialogue_without_a_name_has_that_of_its_place(content, names, tmp_path):
    path = written(tmp_path / "talks.json", json.dumps(content))
    assert [row[0] for row in seen(read_table(path))] == names
    assert [row[2:] for row in seen(read_table(path))] == [row[2:] for row in SEEN]


def test_utterances_in_scenes_in_episodes(tmp_path):
    """The form of EmoryNLP: speakers are lists, and words are nested lists."""

    def utterance(number, speaker, emotion):
        said = {"transcript": f"Hi {number}", "tokens": [["Hi", str(number)]], "emotion": emotion}
        return said | {"utterance_id": f"s01_e01_c01_u{number:03d}", "speakers": [speaker]}

    scenes = [
        {"scene_id": "s01_e01_c01", "utterances": [utterance(1, "Monica Geller", "Joyful")]},
        {"scene_id": "s01_e01_c02", "utterances": [utterance(n, "Joey", "Mad") for n in (12, 3)]},
    ]
    content = {"season_id": "s01", "episodes": [{"episode_id": "s01_e01", "scenes": scenes}]}
    path = written(tmp_path / "trn.json", json.dumps(content))
    assert seen(read_table(path)) == [
        ("s01_e01_c01", "s01_e01_c01_u001", "Monica Geller", "Hi 1", "Joyful"),
        ("s01_e01_c02", "s01_e01_c01_u012", "Joey", "Hi 12", "Mad"),
        ("s01_e01_c02", "s01_e01_c01_u003", "Joey", "Hi 3", "Mad"),
    ]


def test_a_dialogue_in_a_line(tmp_path):
    """The form of DailyDialog: a line for each dialogue, with lists or with objects."""
    lists = [
        {"dialog": ["Hi", "Ho"], "emotion": [0, 4], "speaker": ["A", "B"]},
        {"dialog": ["Ha"], "emotion": [0], "speaker": ["A"]},
    ]
    objects = [
        {"topic": "x", "dialogue": [{"text": "Hi", "emotion": 0, "speaker": "A"}]},
        {"topic": "y", "dialogue": [{"text": "Ha", "emotion": 4, "speaker": "B"}]},
    ]
    path = written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lists)))
    table = read_table(path, text="dialog")
    assert seen(table, {"text": "dialog"}) == [
        ("row 1", "0", "A", "Hi", "0"),
        ("row 1", "1", "B", "Ho", "4"),
        ("row 2", "0", "A", "Ha", "0"),
    ]
    path = written(tmp_path / "b.jsonl", "\n".join(map(json.dumps, objects)))
    assert [row[0] for row in seen(read_table(path))] == ["line 1/dialogue", "line 2/dialogue"]


def test_columns_by_their_usual_names():
    meld = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"]
    assert find_columns([*meld, "StartTime", "EndTime"], "f", chosen={}) == {
        "dialogue": "Dialogue_ID",
        "utterance": "Utterance_ID",
        "text": "Utterance",
        "speaker": "Speaker",
        "label": "Emotion",
        "start": "StartTime",
        "end": "EndTime",
    }
    # Where another column holds the text, an "utterance" is its number.
    names = find_columns(["conversation id", "utterance", "text"], "f", chosen={})
    assert names == {"dialogue": "conversation id", "utterance": "utterance", "text": "text"}
    names = find_columns(["Scene", "utterance", "line"], "f", chosen={"text": "LINE"})
    assert names == {"dialogue": "Scene", "utterance": "utterance", "text": "line"}


def test_values_as_text():
    values = ["a", 3, 3.0, 0.5, True, None, float("nan"), pd.NA, pd.NaT, ["Ross"], ["A", "B"], [], {"a": 1}]
    texts = ["a", "3", "3", "0.5", "True", "", "", "", "", "Ross", '["A", "B"]', "", '{"a": 1}']
    assert [as_text(value) for value in values] == texts
    assert [as_name(text) for text in (" 3.0 ", "a  b", "-1.00", "1.5")] == ["3", "a b", "-1", "1.5"]


def test_json_whose_keys_are_splits(tmp_path):
    turns = [{**row, "dialogue": f"{row['dialogue']} {split}"} for split in ("train", "val") for row in ROWS]
    path = written(tmp_path / "talks.json", json.dumps({"train": turns[:3], "val": [{"turns": turns[3:]}]}))
    rows = read_utterances([read_table(path)], {}).rows
    assert rows["split"].tolist() == ["train"] * 3 + ["dev"] * 3


def test_half_a_character_is_replaced(tmp_path):
    """JSON may hold one half of a surrogate pair, which no UTF-8 file can."""
    content = json.dumps([ROWS[0] | {"text": "\ud83d\ude00 \ud800!"}])
    assert seen(read_table(written(tmp_path / "talks.json", content)))[0][3] == "\U0001f600 '!"


def test_json_that_is_nested_deeply_is_refused(tmp_path):
    path = written(tmp_path / "talks.json", '{"a":' * 5000 + json.dumps(ROWS) + "}" * 5000)
    with pytest.raises(UserError, match=r"talks\.json: is n(ested too deeply|ot JSON)"):
        seen(read_table(path))


def test_what_is_no_data_frame_is_refused():
    with pytest.raises(UserError, match="the data frame: is a list; give a pandas data frame"):
        table_of(ROWS)
