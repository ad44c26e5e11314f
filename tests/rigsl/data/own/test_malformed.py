"""Malformed corpora: each is one sentence that names file, row and column, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rigsl.cli.main import main
from tests.helpers.commands import refusal
from tests.helpers.corpora import made_up_corpus
from tests.helpers.own_files import transcript, vectors, write_npz

HEADER = "dialogue,utterance_id,speaker,text,emotion\n"


def text(change: Callable[[str], str]) -> Callable[[Path], None]:
    """Spoil the text of the transcript."""
    return lambda folder: _rewrite(folder / "talks.csv", change)


def _rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    """Spoil the table of the transcript."""
    return lambda folder: change(transcript()).to_csv(folder / "talks.csv", index=False)


def cell(row: int, **cells: object) -> Callable[[Path], None]:
    """Spoil cells of one row, from 1."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype(object)
        for column, value in cells.items():
            frame.loc[row - 1, column] = value
        return frame

    return table(change)


def raw(content: bytes, name: str = "talks.csv") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def audio(change: Callable[[np.ndarray], np.ndarray], rows: slice = slice(None)) -> Callable[[Path], None]:
    """Spoil the features."""
    return lambda folder: (
        write_npz(folder / "audio.npz", transcript().iloc[rows], change(vectors()[rows])) and None
    )


def _damaged_npy(path: Path) -> None:
    np.save(path, vectors())
    path.write_bytes(path.read_bytes().replace(b"(80, 5), }", b"(80, 5), ["))
    transcript().to_csv(path.with_suffix(".csv"), index=False)


def visual(frame: pd.DataFrame, name: str = "audio.csv") -> Callable[[Path], None]:
    return lambda folder: frame.to_csv(folder / name, index=False)


def numbers(**columns: object) -> pd.DataFrame:
    """A table of features of all utterances."""
    frame = transcript()[["dialogue", "utterance_id"]].assign(pitch=1.5)
    return frame.astype(object).assign(**columns) if columns else frame


def with_cell(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    frame = frame.astype(object)
    frame.loc[row - 1, column] = value
    return frame


def splits(train: int = 16, dev: int = 2) -> list[str]:
    """The split of every utterance, by dialogue."""
    names = ["train"] * train + ["dev"] * dev + ["test"] * (20 - train - dev)
    return [name for name in names for _ in range(4)]


def json_file(content: object) -> Callable[[Path], None]:
    return lambda folder: (folder / "talks.json").write_text(json.dumps(content), encoding="utf-8") and None


def nothing(folder: Path) -> None:
    """The files are right; the command is not."""


CSV = ["--csv", "talks.csv"]
JSON = ["--csv", "talks.json"]
TABLE = [*CSV, "--features", "audio=audio.csv"]

#: What is wrong -> how it is made, the command, and what the sentence says.
MALFORMED: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    # the file
    "no such file": (nothing, ["--csv", "nowhere.csv"], "nowhere.csv: cannot be read"),
    "an empty file": (raw(b""), CSV, "talks.csv: is empty; the first line names the columns"),
    "no rows": (raw(HEADER.encode()), CSV, "talks.csv: has no rows; write one for each utterance"),
    "another format": (raw(b"x", "talks.xlsx"), ["--csv", "talks.xlsx"], "talks.xlsx: is not CSV, TSV, JSON"),
    "cp1252": (
        raw((HEADER + "a,0,Ross,caf\xe9,joy\n").encode("cp1252")),
        CSV,
        "talks.csv, line 2: is not UTF-8; save it as CSV UTF-8",
    ),
    "an unknown encoding": (nothing, [*CSV, "--encoding", "utf-9"], "--encoding utf-9: is not an encoding"),
    "another encoding than named": (
        raw(HEADER.encode() + b"a,0,Ross,\xff,joy\n"),
        [*CSV, "--encoding", "gb18030"],
        "talks.csv, line 2: is not gb18030",
    ),
    "NUL bytes": (
        raw(HEADER.encode() + b"a,0,Ro\0ss,hi,joy\n"),
        CSV,
        "talks.csv, line 2: is not a CSV file (it holds NUL",
    ),
    "an open quotation mark": (
        text(lambda s: s + 'd1,9,Ross,"hi,joy\n'),
        CSV,
        "is not a CSV file (unexpected end of data; a quotation mark is not closed)",
    ),
    "a quotation mark in the middle": (
        text(lambda s: s + 'd1,9,Ross,"hi" there,joy\n'),
        CSV,
        "talks.csv, line 82: is not a CSV file (',' expected after '\"')",
    ),
    "a comma without quotation marks": (
        text(lambda s: s + "d1,9,Ross,well, no,joy\n"),
        CSV,
        "talks.csv, row 81: has 6 cells for 5 columns; put a text with a comma between quotation marks",
    ),
    "a row that is too short": (text(lambda s: s + "d1,9,Ross\n"), CSV, "row 81: has 3 cells for 5 columns"),
    "no JSON": (raw(b'[{"text": ', "talks.json"), JSON, "talks.json: is not JSON"),
    "a line that is no JSON": (
        raw(b'{"text": "hi"}\n{\n', "talks.jsonl"),
        ["--csv", "talks.jsonl"],
        "talks.jsonl, line 2: is not JSON",
    ),
    "no Parquet": (
        raw(b"x", "talks.parquet"),
        ["--csv", "talks.parquet"],
        "talks.parquet: is not a Parquet file",
    ),
    "the same file twice": (nothing, ["--csv", "talks.csv", "talks.csv"], "talks.csv: is given twice"),
    "lists that differ in length": (
        json_file([{"text": ["hi", "ho"], "speaker": ["A", "B"], "emotion": ["joy"]}]),
        JSON,
        "talks.json, row 1: the lists text and emotion differ in length",
    ),
    # columns
    "no column of labels": (
        table(lambda f: f.drop(columns="emotion")),
        CSV,
        "talks.csv: lacks the column label; its columns are 'dialogue,utterance_id,speaker,text', so name it "
        "with --column label=NAME",
    ),
    "no column of dialogues": (table(lambda f: f.drop(columns="dialogue")), CSV, "lacks the column dialogue"),
    "no column of speakers": (table(lambda f: f.drop(columns="speaker")), CSV, "lacks the column speaker"),
    "no column of texts for an encoder": (
        table(lambda f: f.drop(columns="text")),
        [*CSV, "--encoder", "all-MiniLM-L6-v2", "--features", "visual=audio.npz"],
        "lacks the column text",
    ),
    "two columns of labels": (
        table(lambda f: f.assign(label="joy")),
        CSV,
        "the columns emotion and label could all be the label; choose one with --column label=emotion",
    ),
    "columns of one name": (
        text(lambda s: s.replace("utterance_id", "text", 1)),
        CSV,
        "have the same name, 'text'",
    ),
    "a chosen column that is not there": (
        nothing,
        [*CSV, "--column", "text=Line"],
        "talks.csv: has no column 'Line' for the text",
    ),
    "a start without an end": (
        table(lambda f: f.assign(start=1.0)),
        CSV,
        "has the column start but none for the end",
    ),
    # cells
    "a dialogue without a name": (cell(5, dialogue=" "), CSV, "talks.csv, row 5: dialogue '' is empty"),
    "nobody speaks": (cell(7, speaker=""), CSV, "talks.csv, row 7: speaker '' is empty; write who speaks"),
    "no label": (
        cell(9, emotion=""),
        CSV,
        "talks.csv, row 9: emotion '' is empty; give every utterance a label",
    ),
    "no text for an encoder": (
        cell(4, text=" "),
        [*CSV, "--encoder", "all-MiniLM-L6-v2", "--features", "visual=audio.npz"],
        "talks.csv, row 4: text '' is empty; write what is said",
    ),
    "an utterance without a number": (
        cell(3, utterance_id=""),
        CSV,
        "talks.csv, row 3: utterance_id '' is empty",
    ),
    "a number that comes twice": (
        cell(4, utterance_id=2),
        CSV,
        "talks.csv, row 4: utterance_id '2' comes twice in its dialogue",
    ),
    "a time that is none": (
        table(lambda f: with_cell(f.assign(start="1.0", end="2.0"), 6, "end", "soon")),
        CSV,
        "talks.csv, row 6: end 'soon' is not a time like 00:20:57,256 or 12.5",
    ),
    # labels
    "a number on a scale": (
        table(lambda f: f.assign(emotion=np.linspace(0.1, 0.9, 80).round(3))),
        CSV,
        "talks.csv, row 1: emotion '0.1' is a number on a scale, and continuous targets are not supported",
    ),
    "several labels": (
        cell(2, emotion="joy; anger"),
        CSV,
        "talks.csv, row 2: emotion 'joy; anger' is several labels",
    ),
    "a list of labels": (
        cell(2, emotion="['joy', 'anger']"),
        CSV,
        "row 2: emotion \"['joy', 'anger']\" is several",
    ),
    "one class": (table(lambda f: f.assign(emotion="joy")), CSV, "row 1: emotion 'joy' is the only class"),
    "free text as a label": (
        table(
            lambda f: pd.concat(
                [
                    f.assign(
                        dialogue=f["dialogue"] + s,
                        emotion=f["text"] + s + f["dialogue"] + f["utterance_id"].astype(str),
                    )
                    for s in "abc"
                ]
            )
        ),
        CSV,
        "talks.csv, row 201: emotion",
    ),
    "whole numbers on a scale": (
        table(lambda f: f.assign(emotion=range(80))),
        CSV,
        "talks.csv, row 51: emotion '50' and there are 80 such numbers: a scale",
    ),
    # splits
    "an unknown split": (
        table(lambda f: with_cell(f.assign(split=splits()), 5, "split", "later")),
        CSV,
        "talks.csv, row 5: split 'later' is not a split; the splits are train, dev, test",
    ),
    "a dialogue in two splits": (
        table(lambda f: with_cell(f.assign(split=splits()), 3, "split", "test")),
        CSV,
        "talks.csv, row 3: split 'test' differs from that of the other rows of its dialogue",
    ),
    "no test split": (
        table(lambda f: f.assign(split=splits(18, 2))),
        CSV,
        "talks.csv: no utterance is in test",
    ),
    "a label in test that train lacks": (
        table(lambda f: with_cell(f.assign(split=splits()), 80, "emotion", "awe")),
        CSV,
        "talks.csv, row 80: emotion 'awe' is in test but not in train; move a dialogue with it",
    ),
    "too few dialogues to draw from": (
        table(lambda f: f.iloc[:36]),
        CSV,
        "talks.csv: has 9 dialogues to draw splits from, and 10 are needed",
    ),
    "more splits than files": (
        nothing,
        [*CSV, "--splits", "train", "dev"],
        "--splits: names 2 splits for 1 file",
    ),
    "a dialogue in two files": (
        lambda folder: transcript().to_csv(folder / "more.csv", index=False),
        ["--csv", "talks.csv", "more.csv"],
        "more.csv, row 1: dialogue 'd0' is in another file, too; say which split each file is with --splits",
    ),
    "files of which one says its split": (
        lambda folder: transcript().to_csv(folder / "test.csv", index=False),
        ["--csv", "talks.csv", "test.csv"],
        "talks.csv: the names of the files say a split of some only",
    ),
    "files of a dev and a test split": (
        lambda folder: [transcript().to_csv(folder / name, index=False) for name in ("dev.csv", "test.csv")],
        ["--csv", "dev.csv", "test.csv"],
        "dev.csv: the names of the files say the splits dev and test, and none is train; give its file, too, "
        "or say which split each is with --splits train test",
    ),
    # features
    "no such features": (nothing, [*CSV, "--features", "audio=nowhere.npz"], "nowhere.npz: is not there"),
    "pickled features": (
        raw(b"x", "audio.pkl"),
        [*CSV, "--features", "audio=audio.pkl"],
        "audio.pkl: is not .npz, .npy with an index, CSV, TSV, Parquet, or a folder of CSV files of "
        "openSMILE or OpenFace by its name; pickles can run code",
    ),
    "damaged features": (raw(b"x", "audio.npz"), CSV, "audio.npz: is not a NumPy file that can be read"),
    "a damaged header": (
        lambda folder: _damaged_npy(folder / "audio.npy"),
        [*CSV, "--features", "audio=audio.npy"],
        "audio.npy: is not a NumPy file that can be read",
    ),
    "an archive by the name of an array": (
        lambda folder: (
            visual(transcript())(folder),
            write_npz(folder / "a.npz", transcript(), vectors()).rename(folder / "audio.npy"),
        ),
        [*CSV, "--features", "audio=audio.npy"],
        "audio.npy: holds what a .npz file does; give it that name",
    ),
    "an array by the name of an archive": (
        lambda folder: (
            np.save(folder / "a.npy", vectors()),
            (folder / "a.npy").rename(folder / "audio.npz"),
        ),
        CSV,
        "audio.npz: holds what a .npy file does; give it that name",
    ),
    "an array of objects": (
        lambda folder: np.savez(folder / "audio.npz", d0=np.array([{}], dtype=object)),
        CSV,
        "audio.npz: the array 'd0' cannot be read",
    ),
    "features of an utterance are missing": (
        audio(lambda v: v, slice(1, 80)),
        CSV,
        "audio.npz: lacks the audio features, or some numbers of them, of utterance '0' of dialogue 'd0' "
        "(talks.csv, row 1); add them, or fill them with the mean by --missing mean",
    ),
    "a number that is not known": (
        audio(lambda v: np.where(np.arange(80)[:, None] == 5, np.nan, v)),
        CSV,
        "of utterance '1' of dialogue 'd1' (talks.csv, row 6)",
    ),
    "features of another corpus": (
        lambda folder: write_npz(folder / "audio.npz", transcript().assign(dialogue="x")[:1], vectors(1)),
        CSV,
        "audio.npz: none of its 1 name is in the transcript; the first one is utterance '0' of dialogue 'x' "
        "here",
    ),
    "features twice": (
        lambda folder: write_npz(
            folder / "audio.npz", pd.concat([transcript(), transcript()[:1]]), vectors(81)
        ),
        CSV,
        "audio.npz, row 81: utterance '0' of dialogue 'd0' comes twice; keep one row for each utterance",
    ),
    "features of three dimensions": (
        audio(lambda v: v[:, None]),
        CSV,
        "audio.npz: holds numbers of the shape",
    ),
    "an array without an index": (
        lambda folder: np.save(folder / "audio.npy", vectors()),
        [*CSV, "--features", "audio=audio.npy"],
        "audio.npy: needs an index beside it, such as audio.csv with the columns dialogue and utterance",
    ),
    "an index of another length": (
        lambda folder: [
            np.save(folder / "audio.npy", vectors()),
            transcript()[:79].to_csv(folder / "audio.csv"),
        ],
        [*CSV, "--features", "audio=audio.npy"],
        "audio.npy: has 79 names for 80 vectors; give one for each",
    ),
    "a feature that is no number": (
        visual(with_cell(numbers(), 8, "pitch", "high")),
        TABLE,
        "audio.csv, row 8: pitch 'high' is not a number; remove the column or the row",
    ),
    "labels among the features": (
        visual(numbers(emotion=1)),
        TABLE,
        "audio.csv: holds the column emotion, which is a",
    ),
    "features without names": (
        visual(numbers().drop(columns="utterance_id")),
        TABLE,
        "audio.csv: does not say which utterance a row is of",
    ),
    "a folder without features": (
        lambda folder: (folder / "faces").mkdir(),
        [*CSV, "--features", "audio=faces"],
        "faces: holds no CSV files",
    ),
    "a name that no modality has": (
        nothing,
        [*CSV, "--features", "9x=audio.npz"],
        "'9x' is not a modality: it is not a name of at most 64 letters",
    ),
    "two features of one modality": (
        nothing,
        [*CSV, "--features", "audio=audio.npz", "Audio=audio.npz"],
        "features 'audio': are given twice",
    ),
    "text vectors beside an encoder": (
        nothing,
        [*CSV, "--features", "text=audio.npz", "--encoder", "all-MiniLM-L6-v2"],
        "features 'text': the encoder makes text features; leave them out, or use --encoder none",
    ),
    "features that train lacks": (
        lambda folder: [
            transcript().assign(split=splits()).to_csv(folder / "talks.csv", index=False),
            write_npz(folder / "audio.npz", transcript()[64:], vectors(16)),
        ],
        [*CSV, "--missing", "mean"],
        "audio.npz: no utterance of train has audio features; add some",
    ),
    # the fine-tuning
    "fine-tuning of no encoder": (nothing, [*CSV, "--finetune"], "fine-tuning: learns from the texts"),
    "fine-tuning without texts": (
        table(lambda f: f.drop(columns="text")),
        [*CSV, "--finetune", "--encoder", "all-MiniLM-L6-v2", "--features", "visual=audio.npz"],
        "talks.csv: lacks the column text",
    ),
    "a setting of no fine-tuning": (
        nothing,
        [*CSV, "--rank", "8"],
        "--rank: is an option of the fine-tuning; add --finetune",
    ),
    "a setting that is too small": (
        nothing,
        [*CSV, "--finetune", "--folds", "1"],
        "folds of the fine-tuning is 1",
    ),
    "a corpus in the place of the encoders": (
        lambda folder: made_up_corpus().save(folder / "out_encoders.safetensors"),
        [*CSV, "--finetune"],
        "out_encoders.safetensors: is a corpus, and --finetune writes the fine-tuned encoders there",
    ),
    # the command
    "an option without a value": (
        nothing,
        [*CSV, "--features", "audio"],
        "--features audio: is not of the form",
    ),
    "an unknown meaning": (
        nothing,
        [*CSV, "--column", "mood=emotion"],
        "column 'mood': is not one of dialogue",
    ),
    "a name that no file can have": (
        nothing,
        [*CSV, "--name", "../x"],
        "the name '../x': is not 1 to 64 letters",
    ),
    "the name of another dataset": (nothing, [*CSV, "--name", "meld"], "--name meld: is that of a dataset"),
    "the file of another dataset": (
        nothing,
        [*CSV, "--out", "meld_open.safetensors"],
        "meld_open.safetensors: has the name of a file of this project",
    ),
    "another name of a file": (nothing, [*CSV, "--out", "out.csv"], "out.csv: is not a .safetensors file"),
    "a folder that is not there": (
        nothing,
        [*CSV, "--out", "no/x.safetensors"],
        "no folder no; make it first",
    ),
    "an empty licence": (
        raw(b"", "licence.txt"),
        [*CSV, "--licence", "licence.txt"],
        "licence.txt: is empty",
    ),
    "a seed that is none": (nothing, [*CSV, "--seed", "-1"], "seed -1: is not 0 to 4294967295"),
    "a split that is none": (nothing, [*CSV, "--labels-seen", "all"], "labels seen 'all': is not a split"),
    "no such encoder": (
        nothing,
        [*CSV, "--encoder", "./nowhere", "--features", "visual=audio.npz"],
        "encoder",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_corpus_is_one_sentence_and_leaves_nothing(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transcript().to_csv("talks.csv", index=False)
    write_npz(tmp_path / "audio.npz", transcript(), vectors())
    spoil, command, says = MALFORMED[name]
    spoil(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    defaults = ["--name", "TALKS", "--encoder", "none", "--out", "out.safetensors"]
    features = [] if "--features" in command else ["--features", "audio=audio.npz"]
    shown = refusal(main, ["build-corpus", *defaults, *features, *command], capsys)
    assert says in shown
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_there_are_more_than_thirty():
    assert len(MALFORMED) > 60
