"""The rows of a run, one JSON line each, in a file that only grows.

A run that is cut off leaves the rows it has measured. A part that is run again begins anew; the rows of the
other parts stay, so that a page can be the result of several runs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from search.tracking.system_metrics import append_line


@dataclass(frozen=True)
class Row:
    """A measurement or a check.

    name: what was measured; values: column -> what a reader sees there; ok: whether a check was met, None: a
    measurement without one; note: a sentence on how it was measured, or why it was not.
    """

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    ok: bool | None = None
    note: str = ""


@dataclass
class PartResult:
    """A part of a run, as far as it got.

    machine: device, processor and versions; seconds: None until it has ended; failure: a sentence, empty
    unless it ended with an error.
    """

    name: str
    machine: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    seconds: float | None = None
    failure: str = ""

    @property
    def failed(self) -> bool:
        """Whether an error ended it, or one of its checks was not met."""
        return bool(self.failure) or any(row.ok is False for row in self.rows)


class Results:
    """The results file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, part: str, machine: Mapping[str, Any]) -> None:
        """A part begins; what the file says of it does not count any more."""
        self._append({"begin": part, "machine": dict(machine)})

    def add(self, part: str, row: Row) -> None:
        """A row of the part."""
        self._append({"row": part, **asdict(row)})

    def end(self, part: str, seconds: float, failure: str = "", traceback: str = "") -> None:
        """The part has ended; `traceback`: of the error that ended it."""
        ended: dict[str, Any] = {"end": part, "seconds": round(seconds, 1), "failure": failure}
        self._append(ended | ({"traceback": traceback} if traceback else {}))

    def read(self) -> dict[str, PartResult]:
        """Part -> its result, in the order in which they began."""
        parts: dict[str, PartResult] = {}
        for line in self._lines():
            if "begin" in line:
                parts.pop(line["begin"], None)
                parts[line["begin"]] = PartResult(line["begin"], line["machine"])
            elif "row" in line:
                row = Row(line["name"], line["values"], line["ok"], line["note"])
                parts[line["row"]].rows.append(row)
            elif "end" in line:
                part = parts[line["end"]]
                part.seconds, part.failure = line["seconds"], line["failure"]
        return parts

    def _append(self, line: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.path, dict(line))

    def _lines(self) -> list[dict[str, Any]]:
        lines = []
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else ""
        for line in text.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
        return lines
