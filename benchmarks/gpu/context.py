"""What a part of a run is told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from search.run_folder import ROOT

#: Numbers recorded from the official code.
GOLDEN = ROOT / "tests" / "golden"


@dataclass(frozen=True)
class Context:
    """device: "cuda", or "cpu" with stand-ins for what needs a GPU; quick: fewer and smaller measurements;
    official: a clone of the official code, None: it is not measured; golden: folder of the recorded numbers;
    scratch: an empty folder for the part, removed after it; ends: `time.monotonic()` at which it must end.
    """

    device: str
    quick: bool
    scratch: Path
    ends: float
    official: Path | None = None
    golden: Path = GOLDEN

    @property
    def cuda(self) -> bool:
        """Whether a GPU is measured."""
        return self.device != "cpu"

    def seconds_left(self) -> float:
        """Seconds until the part must end; 0 if it should have."""
        return max(0.0, self.ends - time.monotonic())

    def choose(self, full: int, quick: int) -> int:
        """A size of this run."""
        return quick if self.quick else full
