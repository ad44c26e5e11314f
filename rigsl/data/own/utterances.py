"""The utterances of one or several tables: their columns under their meanings, and where each is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rigsl.data.open.meld import check_rows, repaired
from rigsl.data.own.columns import check_times, find_columns
from rigsl.data.own.reading.cells import as_name
from rigsl.data.own.reading.json_file import PLACE
from rigsl.data.own.reading.tables import Table
from rigsl.data.own.reading.times import read_times
from rigsl.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_NAMES = ("dialogue", "utterance", "label", "split")


@dataclass(frozen=True)
class Utterances:
    """U utterances; those of a dialogue are adjacent and in order.

    rows: a row for each, with the columns dialogue, utterance (its name, or its position from 0), text,
    speaker, label, split (texts; split is empty without a column), start, end (seconds or NaN), table and row
    (where it is from, both from 0), and given (its position in all tables together).
    """

    rows: pd.DataFrame
    tables: tuple[Table, ...]
    columns: tuple[dict[str, str], ...]  #: of each table: meaning -> column

    def place(self, at: int) -> str:
        """Where utterance `at` is from: ``talk.csv, row 12``."""
        table, row = self.rows["table"].iloc[at], self.rows["row"].iloc[at]
        return f"{self.tables[table].source}, row {row + 1}"

    def check(self, valid: np.ndarray, meaning: str, complaint: str) -> None:
        """Check a column: `valid` [U] says for each utterance whether its cell is.

        Raises:
            UserError: a cell is not valid; the sentence names the first one in the tables.
        """
        bad = np.flatnonzero(~np.asarray(valid, dtype=bool))
        if bad.size:
            first = int(bad[self.rows["given"].to_numpy()[bad].argmin()])
            column = self.columns[self.rows["table"].iloc[first]].get(meaning, meaning)
            value = str(self.rows[meaning].iloc[first])
            raise UserError(f"{self.place(first)}: {column} {value!r} {complaint}")


def read_utterances(
    tables: Sequence[Table],
    chosen: Mapping[str, str],
    *,
    splits: Sequence[str] = (),
    needs_text: bool = True,
) -> Utterances:
    """The utterances of all tables, ordered by dialogue, then by number where utterances have one.

    Args:
        tables: the tables.
        chosen: meaning -> column, where it has no usual name.
        splits: of each table, if each is one. Dialogues of two splits may have the same name then; all get
            the split in front of theirs: ``train_0``.
        needs_text: whether every utterance must have a text.

    Raises:
        UserError: a column is missing, or a cell is empty or not valid.
    """
    import pandas as pd

    columns = tuple(_columns(table, chosen, needs_text) for table in tables)
    parts = [
        _rows(table, names, number) for number, (table, names) in enumerate(zip(tables, columns, strict=True))
    ]
    rows = pd.concat(parts, ignore_index=True)
    rows["given"] = np.arange(len(rows))
    utterances = Utterances(rows, tuple(tables), columns)
    for meaning, advice in _MUST.items():
        utterances.check(rows[meaning].ne("").to_numpy(), meaning, f"is empty; {advice}")
    if needs_text:
        utterances.check(rows["text"].ne("").to_numpy(), "text", _NO_TEXT)
    _name_apart(utterances, splits)
    return Utterances(_ordered(utterances), tuple(tables), columns)


_MUST = {
    "dialogue": "name the dialogue in every row",
    "speaker": "write who speaks",
    "label": "give every utterance a label, or remove the row",
}
_NO_TEXT = "is empty; write what is said, such as [laughs], or use --encoder none with features of your own"


def _columns(table: Table, chosen: Mapping[str, str], needs_text: bool) -> dict[str, str]:
    """Meaning -> column of a table; a dialogue without a column is where its utterances are in the file."""
    header = [str(name) for name in table.cells.columns if name != PLACE]
    if not len(table.cells):
        raise UserError(f"{table.source}: has no rows; write one for each utterance")
    placed = PLACE in table.cells and table.cells[PLACE].nunique() > 1
    required = ["text"] if needs_text else []
    required += ["speaker", "label"] if placed else ["speaker", "label", "dialogue"]
    names = find_columns(header, table.source, chosen=chosen, required=required)
    if placed:
        names.setdefault("dialogue", PLACE)
    check_times(names, table.source)
    return names


def _rows(table: Table, names: Mapping[str, str], number: int) -> pd.DataFrame:
    import pandas as pd

    cells = table.cells
    rows = pd.DataFrame(index=cells.index)
    for meaning in _NAMES:
        rows[meaning] = cells[names[meaning]].map(as_name) if meaning in names else ""
    for meaning in ("text", "speaker"):
        rows[meaning] = cells[names[meaning]].map(repaired) if meaning in names else ""
    for meaning in ("start", "end"):
        known = meaning in names
        rows[meaning] = read_times(cells, table.source, names[meaning]) if known else np.nan
    if "utterance" in names:
        check_rows(rows["utterance"] != "", cells, table.source, names["utterance"], "is empty; number it")
    rows["table"], rows["row"] = number, cells.index
    return rows


def _name_apart(utterances: Utterances, splits: Sequence[str]) -> None:
    """Give dialogues of different tables different names, and every utterance the split of its table."""
    rows = utterances.rows
    if splits:
        rows["split"] = rows["table"].map(dict(enumerate(splits)))
        if not _in_one_table(rows).all():
            rows["dialogue"] = rows["split"] + "_" + rows["dialogue"]
    utterances.check(
        _in_one_table(rows),
        "dialogue",
        "is in another file, too; say which split each file is with --splits, or name the dialogues "
        "differently",
    )


def places(names: pd.Series[str], rows: np.ndarray) -> np.ndarray:
    """Where utterances stand in their dialogues: the numbers that they are named by, or else their `rows`."""
    return names.astype(np.int64).to_numpy() if names.str.fullmatch(r"\d{1,15}").all() else rows


def _in_one_table(rows: pd.DataFrame) -> np.ndarray:
    """Whether each utterance is from the table in which its dialogue begins, bool [U]."""
    first = rows.groupby("dialogue", sort=False)["table"].transform("first")
    return (rows["table"] == first).to_numpy()


def _ordered(utterances: Utterances) -> pd.DataFrame:
    """The rows by dialogue, in the order of the dialogues' first rows, and by number where they have one."""
    import pandas as pd

    rows = utterances.rows
    group = pd.factorize(rows["dialogue"])[0]
    within: np.ndarray = np.arange(len(rows))
    named = rows["utterance"].ne("").to_numpy()
    if named.any():
        utterances.check(named, "utterance", "is empty, but other tables number theirs; number it, too")
        repeated = rows.duplicated(["dialogue", "utterance"]).to_numpy()
        utterances.check(~repeated, "utterance", "comes twice in its dialogue; number it differently")
        within = places(rows["utterance"], within)
    order = np.lexsort((within, group))
    rows = rows.iloc[order].reset_index(drop=True)
    if not named.any():
        rows["utterance"] = rows.groupby("dialogue", sort=False).cumcount().astype(str)
    return rows
