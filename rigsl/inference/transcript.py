"""A user's conversation in a CSV file -> a checked `Transcript`, and back to the rows of the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigsl.data.corpus import HIDDEN, SPLITS
from rigsl.data.open.meld import Transcript, check_rows, repaired, transcript_of
from rigsl.data.own.reading.csv_file import read_cells
from rigsl.data.own.reading.times import read_times
from rigsl.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: Meaning of a column -> the names that it can have, in any case; MELD's name is the last one.
COLUMNS = {
    "text": ("text", "utterance"),
    "speaker": ("speaker",),
    "dialogue": ("dialogue", "dialogue_id"),
    "position": ("utterance_id",),
    "start": ("start", "starttime"),
    "end": ("end", "endtime"),
}
REQUIRED = ("text", "speaker")


@dataclass(frozen=True)
class Conversation:
    """The content of a file; row i of the file is utterance ``utterance_of_row[i]`` of the transcript."""

    transcript: Transcript
    speakers: tuple[str, ...]  #: names, in the order of the transcript
    utterance_of_row: np.ndarray  #: int64 [U]

    @property
    def without_times(self) -> int:
        """Number of utterances whose start or end is not known."""
        return int((np.isnan(self.transcript.start) | np.isnan(self.transcript.end)).sum())


def read_transcript(path: Path) -> Conversation:
    """Read a CSV file with the columns text and speaker and, optionally, dialogue, start and end.

    MELD's column names are accepted, too. Without a dialogue column the file is one dialogue. Utterances are
    in the order of the rows, or of Utterance_ID. A time is a number of seconds or like 00:20:57,256; an empty
    cell, or NaN, means that it is not known. Rows and columns of empty cells are none:
    spreadsheets write them as commas at the end of the lines and of the file.

    Raises:
        UserError: the file cannot be read, lacks a column, or has an invalid row; the sentence names it.
    """
    import pandas as pd

    cells = read_cells(path)
    names = _column_names(path, list(cells.columns))
    rows = pd.DataFrame(index=cells.index)
    rows["Utterance"] = cells[names["text"]].map(repaired)
    rows["Speaker"] = cells[names["speaker"]].map(repaired)
    check_rows(rows["Speaker"] != "", cells, path, names["speaker"], "is not a name; write who speaks")
    rows["dialogue"] = cells[names["dialogue"]].str.strip() if "dialogue" in names else path.stem
    check_rows(rows["dialogue"] != "", rows, path, "dialogue", "is empty; name the dialogue in every row")
    rows["label"], rows["split"] = HIDDEN, SPLITS.index("test")
    for name in ("start", "end"):
        rows[name] = read_times(cells, path, names[name]) if name in names else np.nan
    order = _order(rows["dialogue"], cells, path, names.get("position"))
    rows = rows.iloc[order]
    utterance_of_row = np.empty_like(order)
    utterance_of_row[order] = np.arange(len(order))
    return Conversation(transcript_of(rows), tuple(rows["Speaker"]), utterance_of_row)


def _column_names(path: Path, header: list[str]) -> dict[str, str]:
    """Meaning of a column -> its name in the file."""
    lower = {name.lower(): name for name in reversed(header)}
    names = {
        meaning: next(lower[alias] for alias in aliases if alias in lower)
        for meaning, aliases in COLUMNS.items()
        if any(alias in lower for alias in aliases)
    }
    missing = [meaning for meaning in REQUIRED if meaning not in names]
    if missing:
        raise UserError(
            f"{path}: lacks the column {' and '.join(missing)}; its first line is "
            f"{','.join(header)[:80]!r} and must name the columns, such as speaker,text"
        )
    if ("start" in names) != ("end" in names):
        raise UserError(f"{path}: has only one of the columns start and end; give both or neither")
    named = [name for name in header if name]
    if len(set(named)) != len(named):
        raise UserError(f"{path}: two columns have the same name; rename one")
    return names


def _order(dialogue: pd.Series[str], cells: pd.DataFrame, path: Path, column: str | None) -> np.ndarray:
    """Rows ordered by dialogue, in the order of the dialogues' first rows, then by `column`; int64 [U]."""
    import pandas as pd

    if dialogue.empty:
        raise UserError(f"{path}: has no rows below its first line; write a row for each turn")
    group = pd.factorize(dialogue)[0]
    within: np.ndarray = np.arange(len(group))
    if column is not None:
        numbers = cells[column].str.strip()
        check_rows(numbers.str.fullmatch(r"\d{1,9}"), cells, path, column, "is not a whole number")
        within = numbers.astype(np.int64).to_numpy()
        repeated = pd.DataFrame({"group": group, "within": within}).duplicated()
        check_rows(~repeated, cells, path, column, "comes twice in its dialogue")
    return np.lexsort((within, group))
