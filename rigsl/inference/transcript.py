"""A user's conversation in a CSV file -> a checked `Transcript`, and back to the rows of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigsl.data.corpus import HIDDEN, SPLITS
from rigsl.data.open.meld import Transcript, check_rows, repaired, transcript_of
from rigsl.data.own.columns import check_meanings, check_times, find_columns
from rigsl.data.own.reading.cells import as_name
from rigsl.data.own.reading.csv_file import read_cells
from rigsl.data.own.reading.times import read_times
from rigsl.data.own.utterances import places
from rigsl.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: Meanings of the columns that are read, and of those that must be there.
COLUMNS = ("dialogue", "utterance", "text", "speaker", "start", "end")
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


def read_transcript(path: Path, chosen: Mapping[str, str] | None = None) -> Conversation:
    """Read a CSV file with the columns text and speaker and, optionally, dialogue, utterance, start and end.

    Columns are found by the names that `build-corpus` knows. Without a dialogue column the file is one
    dialogue. Utterances are in the order of their numbers, or of the rows. A time is a number of seconds or
    like 00:20:57,256; an empty cell, or NaN, means that it is not known. Rows and columns of empty cells are
    none: spreadsheets write them as commas at the end of the lines and of the file.

    Args:
        path: of the file.
        chosen: meaning -> column, where it has no usual name.

    Raises:
        UserError: the file cannot be read, lacks a column, or has an invalid row; the sentence names it.
    """
    import pandas as pd

    chosen = chosen or {}
    check_meanings(chosen, COLUMNS)
    cells = read_cells(path)
    header = [str(name) for name in cells.columns]
    names = find_columns(header, path, chosen=chosen, wanted=COLUMNS, required=REQUIRED)
    check_times(names, path)
    rows = pd.DataFrame(index=cells.index)
    rows["Utterance"] = cells[names["text"]].map(repaired)
    rows["Speaker"] = cells[names["speaker"]].map(repaired)
    check_rows(rows["Speaker"] != "", cells, path, names["speaker"], "is not a name; write who speaks")
    rows["dialogue"] = cells[names["dialogue"]].str.strip() if "dialogue" in names else path.stem
    check_rows(rows["dialogue"] != "", rows, path, "dialogue", "is empty; name the dialogue in every row")
    rows["label"], rows["split"] = HIDDEN, SPLITS.index("test")
    for name in ("start", "end"):
        rows[name] = read_times(cells, path, names[name]) if name in names else np.nan
    order = _order(rows["dialogue"], cells, path, names.get("utterance"))
    rows = rows.iloc[order]
    utterance_of_row = np.empty_like(order)
    utterance_of_row[order] = np.arange(len(order))
    return Conversation(transcript_of(rows), tuple(rows["Speaker"]), utterance_of_row)


def _order(dialogue: pd.Series[str], cells: pd.DataFrame, path: Path, column: str | None) -> np.ndarray:
    """Rows ordered by dialogue, in the order of the dialogues' first rows, then by `column`; int64 [U]."""
    import pandas as pd

    if dialogue.empty:
        raise UserError(f"{path}: has no rows below its first line; write a row for each turn")
    group = pd.factorize(dialogue)[0]
    within: np.ndarray = np.arange(len(group))
    if column is not None:
        names = cells[column].map(as_name)
        check_rows(names != "", cells, path, column, "is empty; number it")
        repeated = pd.DataFrame({"group": group, "name": names.to_numpy()}).duplicated()
        check_rows(~repeated, cells, path, column, "comes twice in its dialogue")
        within = places(names, within)
    return np.lexsort((within, group))
