"""Tables of numbers: CSV in the forms of pandas, openSMILE and OpenFace, TSV, and Parquet."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigsl.data.own.columns import USUAL_NAMES, normal
from rigsl.data.own.reading.tables import read_parquet
from rigsl.errors import UserError, first_line

if TYPE_CHECKING:
    import pandas as pd

#: Names of the column with the file name of a clip, as of `normal`: openSMILE, and its Python package.
CLIP = ("name", "file", "filename", "clip", "segment", "video", "audio")
#: Columns that are no features: times and frames of openSMILE and OpenFace, row numbers, classes of ARFF.
NO_FEATURES = (
    "frametime", "frame", "timestamp", "faceid", "confidence", "success", "start", "end", "frameindex",
    "index", "", "unnamed0",
)  # fmt: skip
_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet", ".pq")


def is_number_table(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return path.suffix.lower() in _SUFFIXES


def read_number_table(path: Path) -> pd.DataFrame:
    """A table whose columns are numbers, or texts where a cell is none.

    Raises:
        UserError: it cannot be read.
    """
    import pandas as pd

    if path.suffix.lower() in (".parquet", ".pq"):
        return read_parquet(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more cells than columns
            frame = pd.read_csv(
                path,
                sep=max(",;\t", key=first.count),
                encoding="utf-8-sig",
                skipinitialspace=True,
                index_col=False,
                low_memory=False,
                dtype=dict.fromkeys(_texts(first), str),
                float_precision="round_trip",
            )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (
        ValueError,
        pd.errors.ParserWarning,
    ) as error:  # decoding and pandas' parser errors are ValueErrors
        raise UserError(f"{path}: is not a CSV file in UTF-8 ({first_line(error, length=200)})") from None
    frame.columns = frame.columns.str.strip()
    return frame


def _texts(header: str) -> list[str]:
    """The columns that name utterances: their cells stay as they are written."""
    meant = {*USUAL_NAMES["dialogue"], *USUAL_NAMES["utterance"], "utterance", *USUAL_NAMES["split"], *CLIP}
    names = header.strip("\r\n").split(max(",;\t", key=header.count))
    plain = [name.strip().strip("\"'") for name in names]
    return [name for name in plain if normal(name) in meant]


def vectors(frame: pd.DataFrame, source: Path | str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The numbers of a table, float64 [n, D], and the names of their columns; NaN: the cell is empty.

    A column of vectors (lists of numbers) is D columns.

    Raises:
        UserError: there are none, or a cell is no number; the sentence names it.
    """
    names = [name for name in frame.columns if normal(str(name)) not in NO_FEATURES]
    if len(names) == 1 and len(frame) and frame[names[0]].map(_is_vector).all():
        return _stacked(frame[names[0]], source), ()
    table = np.empty((len(frame), len(names)))
    for number, name in enumerate(names):
        table[:, number] = _numbers(frame[name], name, source)
    return table, tuple(map(str, names))


def _is_vector(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _stacked(column: pd.Series[Any], source: Path | str) -> np.ndarray:
    sizes = column.map(len)
    if (sizes != sizes.iloc[0]).any():
        row = int((sizes != sizes.iloc[0]).to_numpy().argmax()) + 1
        raise UserError(
            f"{source}, row {row}: {column.name} has another width than row 1; give all the same width"
        )
    try:
        return np.array(column.tolist(), dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{source}: {column.name} holds lists that are no numbers; remove them") from None


def _numbers(column: pd.Series[Any], name: object, source: Path | str) -> np.ndarray:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    numbers = pd.to_numeric(column, errors="coerce")
    bad = (numbers.isna() & column.notna()).to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"{source}, row {row + 1}: {name} {str(column.iloc[row])!r} is not a number; remove the column "
            "or the row"
        )
    return numbers.to_numpy(np.float64, na_value=np.nan)
