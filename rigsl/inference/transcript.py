"""A conversation that a user wrote down: one CSV file -> a checked `Transcript`, and back to its rows."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigsl.data.corpus import HIDDEN, SPLITS
from rigsl.data.open.meld import Transcript, demand, repaired, seconds, transcript_of
from rigsl.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: What a column is -> the names that it may have, in any case; the second ones are MELD's.
COLUMNS = {
    "text": ("text", "utterance"),
    "speaker": ("speaker",),
    "dialogue": ("dialogue", "dialogue_id"),
    "place": ("utterance_id",),
    "start": ("start", "starttime"),
    "end": ("end", "endtime"),
}
REQUIRED = ("text", "speaker")


@dataclass(frozen=True)
class Conversation:
    """What a file holds; row i of the file is utterance ``places[i]`` of the transcript."""

    transcript: Transcript
    speakers: tuple[str, ...]  #: names, in the order of the transcript
    places: np.ndarray  #: int64 [U]

    @property
    def without_times(self) -> int:
        """Utterances whose start or end is not known."""
        return int((np.isnan(self.transcript.start) | np.isnan(self.transcript.end)).sum())


def read_transcript(path: Path) -> Conversation:
    """Read a CSV file with the columns text and speaker and, if there are any, dialogue, start and end.

    MELD's own column names serve as well. Without a dialogue column the file is one dialogue. Utterances are
    in the order of the rows, or of Utterance_ID. A time is a number of seconds or like 00:20:57,256; an empty
    cell says that it is not known.

    Raises:
        UserError: the file cannot be read, lacks a column, or a row is not readable; the sentence names it.
    """
    import pandas as pd

    given = _table(path)
    names = _column_names(path, list(given.columns))
    rows = pd.DataFrame(index=given.index)
    rows["Utterance"] = given[names["text"]].map(repaired)
    rows["Speaker"] = given[names["speaker"]].map(repaired)
    demand(rows["Speaker"] != "", given, path, names["speaker"], "is no name; write who speaks")
    rows["dialogue"] = given[names["dialogue"]].str.strip() if "dialogue" in names else path.stem
    demand(rows["dialogue"] != "", rows, path, "dialogue", "is empty; name the dialogue in every row")
    rows["label"], rows["split"] = HIDDEN, SPLITS.index("test")
    for name in ("start", "end"):
        rows[name] = _times(given, path, names[name]) if name in names else np.nan
    order = _order(rows["dialogue"], given, path, names.get("place"))
    rows = rows.iloc[order]
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return Conversation(transcript_of(rows), tuple(rows["Speaker"]), places)


def _table(path: Path) -> pd.DataFrame:
    """Every cell as text, checked to be as many as the header has."""
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8; save it as CSV UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: is not a CSV file ({error})") from None
    if not header:
        raise UserError(f"{path}: is empty; the first line names the columns, such as speaker,text")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise UserError(
                f"{path}, row {number}: has {len(row)} cells for {len(header)} columns; put a text with a "
                "comma between quotation marks"
            )
    return pd.DataFrame(rows, columns=pd.Index([name.strip() for name in header]), dtype=str)


def _column_names(path: Path, found: list[str]) -> dict[str, str]:
    """What a column is -> its name in the file."""
    lower = {name.lower(): name for name in reversed(found)}
    names = {
        what: next(lower[alias] for alias in aliases if alias in lower)
        for what, aliases in COLUMNS.items()
        if any(alias in lower for alias in aliases)
    }
    missing = [what for what in REQUIRED if what not in names]
    if missing:
        raise UserError(
            f"{path}: lacks the column {' and '.join(missing)}; its first line is "
            f"{','.join(found)[:80]!r} and must name the columns, such as speaker,text"
        )
    if ("start" in names) != ("end" in names):
        raise UserError(f"{path}: has only one of the columns start and end; give both or neither")
    if len(set(found)) != len(found):
        raise UserError(f"{path}: two columns have the same name; rename one")
    return names


def _times(given: pd.DataFrame, path: Path, column: str) -> pd.Series[float]:
    """Seconds; NaN for an empty cell."""
    texts = given[column].str.strip()
    times = texts.map(_time)
    demand(times.notna() | (texts == ""), given, path, column, "is not a time like 00:20:57,256 or 12.5")
    return times


def _time(text: str) -> float:
    """Seconds of a number, M:SS or H:MM:SS, each with a fraction or without; NaN where it is none."""
    try:
        value = float(text)
        return value if math.isfinite(value) else math.nan
    except ValueError:
        pass
    clock = text if "," in text or "." in text else f"{text},0"
    minutes, *rest = clock.split(":")
    return seconds(f"0:{minutes.zfill(2)}:{rest[0]}" if len(rest) == 1 else clock)


def _order(dialogue: pd.Series[str], given: pd.DataFrame, path: Path, place: str | None) -> np.ndarray:
    """Rows with every dialogue together, in the order of the dialogues' first rows; int64 [U]."""
    import pandas as pd

    if dialogue.empty:
        raise UserError(f"{path}: has no rows below its first line; write one a turn")
    group = pd.factorize(dialogue)[0]
    within: np.ndarray = np.arange(len(group))
    if place is not None:
        numbers = given[place].str.strip()
        demand(numbers.str.fullmatch(r"\d{1,9}"), given, path, place, "is not a whole number")
        within = numbers.astype(np.int64).to_numpy()
        again = pd.DataFrame({"group": group, "within": within}).duplicated()
        demand(~again, given, path, place, "comes twice in its dialogue")
    return np.lexsort((within, group))
