"""A trial's learning curve: a file in its folder with one JSON line per epoch, written by the worker.

The file can be an epoch ahead of the record: when the driver ended before the report of that epoch arrived.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.run_folder import CURVE, write_file

#: What a search maximises: the best weighted F1 on validation so far.
METRIC = "best_weighted_f1"
Line = dict[str, Any]


def read_curve(folder: Path) -> list[Line]:
    """The epochs of the trial in `folder`, without a last line that a kill cut off."""
    path = folder / CURVE
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def write_curve(folder: Path, lines: Sequence[Line]) -> None:
    """Replace the file of `folder`, atomically."""
    write_file(folder / CURVE, "".join(json.dumps(line) + "\n" for line in lines))


def append_epoch(folder: Path, line: Line) -> None:
    """Add one epoch to the file of `folder`."""
    with (folder / CURVE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
