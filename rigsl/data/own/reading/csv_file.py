"""A table in a text file, CSV or TSV: every cell as text, and a sentence for whatever is wrong with it."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.errors import UserError
from rigsl.wording import counted

if TYPE_CHECKING:
    import pandas as pd

#: First bytes of a file -> its encoding. UTF-32 comes first: its mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path, encoding: str | None = None, *, advice: str = "save it as UTF-8") -> str:
    """The text of a file; a byte-order mark at its beginning says its encoding and is left out.

    Args:
        path: of the file.
        encoding: of a file without a byte-order mark; None: UTF-8.
        advice: what to do with a file in another encoding.

    Raises:
        UserError: it cannot be read, or holds bytes that are no text; the sentence names the line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    named = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), encoding or "utf-8")
    try:
        return raw.decode(named)
    except UnicodeDecodeError as error:
        what = "UTF-8" if named.startswith("utf-8") else named
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: is not {what}; {advice}") from None


def read_cells(path: Path, delimiter: str | None = ",", encoding: str | None = None) -> pd.DataFrame:
    """Every cell of a CSV file as text; each row has as many cells as the first line names columns.

    Rows without a cell are left out; the index is the number of each row below the first line, from 0.

    Args:
        path: of the file.
        delimiter: between cells; None: the comma, semicolon or tab that is in the first line most often.
        encoding: of a file without a byte-order mark; None: UTF-8.

    Raises:
        UserError: the file cannot be read, is no such table, or a row has too few or too many cells.
    """
    import pandas as pd

    text = read_text(path, encoding, advice="save it as CSV UTF-8")
    if delimiter is None:
        first = text.lstrip().partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
    lines = csv.reader(_without_nul(io.StringIO(text, newline=""), path), delimiter=delimiter, strict=True)
    try:
        table = list(lines)
    except csv.Error as error:
        advice = "; a quotation mark is not closed" if "unexpected end" in str(error) else ""
        raise UserError(f"{path}, line {lines.line_num}: is not a CSV file ({error}{advice})") from None
    numbered = [(number, row) for number, row in enumerate(table) if any(map(str.strip, row))] or [(0, [])]
    (top, header), *rows = numbered
    header = shortened([name.strip() for name in header], 0)
    if not header:
        raise UserError(f"{path}: is empty; the first line names the columns, such as speaker,text")
    cells = {number - top: shortened(row, len(header)) for number, row in rows}
    for number, row in cells.items():
        if len(row) != len(header):
            sizes = f"{counted(len(row), 'cell')} for {counted(len(header), 'column')}"
            raise UserError(
                f"{path}, row {number}: has {sizes}; put a text with a comma between quotation marks"
            )
    index = pd.Index([number - 1 for number in cells], dtype="int64")
    return pd.DataFrame(list(cells.values()), index=index, columns=pd.Index(header), dtype=str)


def _without_nul(lines: Iterable[str], path: Path) -> Iterator[str]:
    """The `lines`; a UserError at the first NUL, which `csv` would take for a letter."""
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            reason = "it holds NUL bytes; save it as CSV UTF-8"
            raise UserError(f"{path}, line {number}: is not a CSV file ({reason})")
        yield line


def shortened(cells: list[str], length: int) -> list[str]:
    """`cells` without the empty ones at their end, as long as there are more than `length`."""
    while len(cells) > length and not cells[-1].strip():
        cells = cells[:-1]
    return cells
