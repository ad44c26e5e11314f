"""Times of a transcript: seconds, or clock times such as 00:20:57,256."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.data.open.meld import check_rows, seconds

if TYPE_CHECKING:
    import pandas as pd

#: Cells of a time that is not known, in lower case: empty, or what other programs write in its place.
UNKNOWN = ("", "nan", "nat", "na", "n/a", "none", "null", "<na>")


def read_times(cells: pd.DataFrame, source: Path | str, column: str) -> pd.Series[float]:
    """Seconds; NaN for a cell of UNKNOWN.

    Raises:
        UserError: a cell is no time; the sentence names it.
    """
    texts = cells[column].str.strip()
    times = texts.map(time_in_seconds)
    known = times.notna() | texts.str.lower().isin(UNKNOWN)
    check_rows(known, cells, source, column, "is not a time like 00:20:57,256 or 12.5")
    return times


def time_in_seconds(text: str) -> float:
    """Seconds of a number, M:SS or H:MM:SS, each with or without a fraction; NaN if it is not a time."""
    try:
        value = float(text)
        return value if math.isfinite(value) else math.nan
    except ValueError:
        pass
    clock = text if "," in text or "." in text else f"{text},0"
    minutes, *rest = clock.split(":")
    return seconds(f"0:{minutes.zfill(2)}:{rest[0]}" if len(rest) == 1 else clock)
