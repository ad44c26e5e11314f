"""A transcript as a table of texts: from CSV, TSV, JSON, JSON lines, Parquet, or a data frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigsl.data.own.columns import USUAL_NAMES, normal
from rigsl.data.own.reading.cells import as_text
from rigsl.data.own.reading.csv_file import read_cells
from rigsl.data.own.reading.json_file import PLACE, read_records
from rigsl.errors import UserError, first_line
from rigsl.wording import listed

if TYPE_CHECKING:
    import pandas as pd

_DELIMITERS = {".csv": None, ".txt": None, ".tsv": "\t", ".tab": "\t"}
_LINES = {".json": False, ".jsonl": True, ".ndjson": True}
_PARQUET = (".parquet", ".pq")
#: What files may be, in words.
FORMATS = "CSV, TSV, JSON (.json), JSON lines (.jsonl) or Parquet"
#: The name of a data frame in messages.
FRAME = "the data frame"


@dataclass(frozen=True)
class Table:
    """Cells of one table; its index is the number of every row in the source, from 0."""

    source: Path | str  #: the file, or `FRAME`
    cells: pd.DataFrame  #: texts


def read_table(path: Path, encoding: str | None = None, *, text: str | None = None) -> Table:
    """The table in a file, whose format its name tells.

    Args:
        path: of the file.
        encoding: of a text file without a byte-order mark; None: UTF-8.
        text: the name of the column with the text, if it is not a usual one.

    Raises:
        UserError: the file cannot be read, is of another format, or is damaged.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix in _DELIMITERS:
        return Table(path, read_cells(path, _DELIMITERS[suffix], encoding))
    if suffix in _LINES:
        records = read_records(path, encoding, lines=_LINES[suffix], text=text)
        return table_of(pd.DataFrame(records), path, text=text)
    if suffix in _PARQUET:
        return table_of(read_parquet(path), path, text=text)
    if not path.exists():
        raise UserError(f"{path}: cannot be read (No such file or directory)")
    raise UserError(f"{path}: is not {FORMATS} by its name; export it as one of these")


def read_parquet(path: Path) -> pd.DataFrame:
    """The table of a Parquet file.

    Raises:
        UserError: it cannot be read.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
        texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
        return frame.astype(dict.fromkeys(texts, object))  # now: damaged texts fail when they are read
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or first_line(error, length=200)})"
        ) from None
    except Exception as error:  # pyarrow and pandas have many ways to fail
        raise UserError(f"{path}: is not a Parquet file ({first_line(error, length=200)})") from None


def table_of(frame: pd.DataFrame, source: Path | str = FRAME, *, text: str | None = None) -> Table:
    """The table of a data frame with a row for each utterance, or for each dialogue and lists of utterances.

    Raises:
        UserError: the lists of a dialogue differ in length.
    """
    if not (hasattr(frame, "columns") and hasattr(frame, "reset_index")):
        raise UserError(f"{source}: is a {type(frame).__name__}; give a pandas data frame, or a dict of them")
    frame = frame.reset_index(drop=True)
    frame.columns = frame.columns.map(str)
    if not frame.columns.is_unique:
        raise UserError(f"{source}: two columns have the same name; rename one")
    frame = _one_row_each(frame, source, _TEXT if text is None else (normal(text),))
    return Table(source, frame.map(as_text).astype(object))


_TEXT = USUAL_NAMES["text"]
_KNOWN = {name for names in USUAL_NAMES.values() for name in names}


def _one_row_each(frame: pd.DataFrame, source: Path | str, names: tuple[str, ...]) -> pd.DataFrame:
    """A row for every utterance of a table whose texts are lists, with one row for every dialogue."""
    lists = [str(name) for name in frame if frame[name].map(_is_list).all()] if len(frame) else []
    texts = [name for name in lists if normal(name) in names]
    if not texts:
        return frame
    sizes = frame[texts[0]].map(len)
    along = [name for name in lists if (frame[name].map(len) == sizes).all()]
    if other := [name for name in lists if name not in along and normal(name) in _KNOWN]:
        number = int((frame[other[0]].map(len) != sizes).to_numpy().argmax()) + 1
        raise UserError(
            f"{source}, row {number}: the lists {listed([texts[0], other[0]])} differ in length; make them "
            "equal"
        )
    frame = frame.assign(**{PLACE: [f"row {number + 1}" for number in range(len(frame))]})
    return frame.explode(along, ignore_index=True)


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | dict)
