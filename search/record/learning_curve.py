"""A trial's learning curve as it lies in its folder: one JSON line an epoch, written by the worker.

The worker's file can be an epoch ahead of the record, where the driver ended before it heard of that epoch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rigsl.files import write_text
from search.run_folder import CURVE

METRIC = "best_weighted_f1"
Line = dict[str, Any]


def read_curve(folder: Path) -> list[Line]:
    """The epochs of the trial in `folder`; a last line that was cut off by a kill is left out."""
    path = folder / CURVE
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def write_curve(folder: Path, lines: Sequence[Line]) -> None:
    """Replace the file, atomically."""
    write_text(folder / CURVE, "".join(json.dumps(line) + "\n" for line in lines))


def append_epoch(folder: Path, line: Line) -> None:
    """Add one epoch."""
    with (folder / CURVE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def report(lines: Sequence[Line]) -> dict[str, Any]:
    """What a trial reports after the last of `lines`: its score, its summary, the epoch's metrics."""
    last = lines[-1]
    best = lines[int(last["best_epoch"]) - 1]
    return {
        "epoch": last["epoch"],
        METRIC: last["best_weighted_f1"],
        "epochs": last["epoch"],
        "seconds": sum(line["epoch_seconds"] for line in lines),
        "best_epoch": int(last["best_epoch"]),
        "accuracy": best["val_accuracy"],
        "macro_f1": best["val_macro_f1"],
        **{f"metrics/{name}": value for name, value in last.items() if name != "epoch"},
    }
