"""The MELD transcripts: three CSV files -> one checked `Transcript`.

Files: ``{train,dev,test}_sent_emo.csv`` of github.com/declare-lab/MELD, folder data/MELD
(Poria et al., ACL 2019; GPL-3.0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigsl.data.corpus import SPLITS
from rigsl.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: Emotions in the order of the official feature files.
CLASSES = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")

SOURCE = "github.com/declare-lab/MELD (folder data/MELD)"  #: of the CSV files

_TIME = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})")
_UTF8_AS_CP1252 = re.compile(r"[ÂÃ].|â€.")
_CONTROLS = {code: bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}


@dataclass(frozen=True)
class Transcript:
    """U utterances of n dialogues. MELD's are in the order of split, Dialogue_ID and Utterance_ID."""

    utterances: tuple[str, ...]
    labels: np.ndarray  #: int64 [U], index into `classes`; HIDDEN if not annotated
    speakers: np.ndarray  #: int64 [U], by order of appearance in the dialogue
    start: np.ndarray  #: float64 [U], seconds from the start of the episode; NaN if not known
    end: np.ndarray  #: float64 [U], seconds, NaN if not known; the files hold outliers
    offsets: np.ndarray  #: int64 [n + 1]
    splits: np.ndarray  #: uint8 [n]
    dialogue_ids: tuple[str, ...]  #: "train_0", ...
    classes: tuple[str, ...] = CLASSES


def csv_paths(folder: Path) -> dict[str, Path]:
    """Split -> its CSV file."""
    return {split: Path(folder) / f"{split}_sent_emo.csv" for split in SPLITS}


def read_meld(folder: Path) -> Transcript:
    """Read the three CSV files of `folder`.

    Raises:
        UserError: a file or a column is missing, or a row is invalid; the sentence names file and row.
    """
    import pandas as pd

    parts = [_read_split(split, path) for split, path in csv_paths(folder).items()]
    return transcript_of(pd.concat(parts, ignore_index=True))


def transcript_of(rows: pd.DataFrame, classes: tuple[str, ...] = CLASSES) -> Transcript:
    """The transcript in a table with one row for each utterance; a dialogue's rows are adjacent and in order.

    Columns: dialogue, split, label, start, end; Utterance (the text) and Speaker (the name), as in MELD's
    files. Labels are indices into `classes`.
    """
    import pandas as pd

    changes = rows["dialogue"].ne(rows["dialogue"].shift())
    first = np.flatnonzero(changes.to_numpy())
    by_dialogue = rows.groupby("dialogue", sort=False)["Speaker"]
    return Transcript(
        utterances=tuple(rows["Utterance"]),
        labels=rows["label"].to_numpy(np.int64),
        speakers=by_dialogue.transform(lambda names: pd.factorize(names)[0]).to_numpy(np.int64),
        start=rows["start"].to_numpy(np.float64),
        end=rows["end"].to_numpy(np.float64),
        offsets=np.append(first, len(rows)).astype(np.int64),
        splits=rows["split"].to_numpy(np.uint8)[first],
        dialogue_ids=tuple(rows["dialogue"].iloc[first]),
        classes=classes,
    )


def repaired(text: str) -> str:
    """`text` with decoding errors repaired.

    UTF-8 that was decoded as cp1252 ("â€™") is decoded again; cp1252 bytes that were decoded as Latin-1
    (U+0092) become the right characters; runs of white space become one space.
    """
    text = _UTF8_AS_CP1252.sub(_decoded_again, text)
    return " ".join(text.translate(_CONTROLS).replace("\ufffd", "'").split())


def _decoded_again(match: re.Match[str]) -> str:
    """The character whose UTF-8 bytes were decoded as cp1252; anything else stays as it is."""
    try:  # cp1252 leaves a few bytes undefined; decoders pass them through
        data = b"".join(
            bytes([ord(char)]) if ord(char) < 256 else char.encode("cp1252") for char in match.group()
        )
        return data.decode("utf-8")
    except UnicodeError:
        return match.group()


def _read_split(split: str, path: Path) -> pd.DataFrame:
    import pandas as pd

    try:  # every cell as text: "None" and "NA" are utterances
        rows = pd.read_csv(path, dtype=str, keep_default_na=False, encoding_errors="replace")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be read ({reason}); MELD's files are at {SOURCE}") from None
    except ValueError as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: is not a CSV file ({' '.join(str(error).split())})") from None
    if any(rows[name].str.contains("\0", regex=False).any() for name in rows.columns):
        raise UserError(f"{path}: holds NUL bytes; download it again, from {SOURCE}")
    if missing := [name for name in COLUMNS if name not in rows.columns]:
        raise UserError(f"{path}: lacks the column {', '.join(missing)}; it is not a MELD annotation file")
    if rows.empty:
        raise UserError(f"{path}: has no rows; download it again")
    for name in ("Dialogue_ID", "Utterance_ID"):
        check_rows(rows[name].str.fullmatch(r"\d{1,9}"), rows, path, name, "is not a whole number")
        rows[name] = rows[name].astype(np.int64)
    repeated = rows.duplicated(["Dialogue_ID", "Utterance_ID"])
    check_rows(~repeated, rows, path, "Utterance_ID", "comes twice in its dialogue")
    emotion = rows["Emotion"].str.strip().str.lower()
    check_rows(emotion.isin(CLASSES), rows, path, "Emotion", f"is not one of {', '.join(CLASSES)}")
    rows["label"] = emotion.map({name: index for index, name in enumerate(CLASSES)})
    for name, column in (("start", "StartTime"), ("end", "EndTime")):
        rows[name] = rows[column].map(seconds)
        check_rows(rows[name].notna(), rows, path, column, "is not a time like 00:20:57,256")
    rows["Utterance"] = rows["Utterance"].map(repaired)
    rows["Speaker"] = rows["Speaker"].map(repaired)
    rows["split"] = SPLITS.index(split)
    rows["dialogue"] = split + "_" + rows["Dialogue_ID"].astype(str)
    return rows.sort_values(["Dialogue_ID", "Utterance_ID"], kind="stable")


def check_rows(
    valid: pd.Series[bool], rows: pd.DataFrame, source: Path | str, column: str, complaint: str
) -> None:
    """Check a column: `valid` says for each row whether its cell is. Row 1 is the first below the header.

    The index of `rows` is the number of each row of `source`, from 0.

    Raises:
        UserError: a cell is not valid; the sentence names the first one.
    """
    bad = np.flatnonzero(~valid.to_numpy(dtype=bool))
    if bad.size:
        value, number = rows[column].iloc[bad[0]], int(rows.index[bad[0]]) + 1
        raise UserError(f"{source}, row {number}: {column} {str(value)!r} {complaint}")


def seconds(time: str) -> float:
    """Seconds of ``H:MM:SS,mmm``; NaN if it is not such a time."""
    match = _TIME.fullmatch(time.strip())
    if match is None:
        return float("nan")
    hours, minutes, seconds, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
