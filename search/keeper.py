"""Keeps a run folder small, and the time that its study has used in the record."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from search import record
from search.trainable import MODEL, STATE


class Clock:
    """Wall time of the search, over all resumes."""

    def __init__(self, before: float) -> None:
        self._before, self._start = before, time.monotonic()

    def seconds(self) -> float:
        """Seconds so far."""
        return self._before + time.monotonic() - self._start


class Keeper:
    """Keeps the run folder small and the clock in the record.

    Of finished trials only the best one's model stays; a state file goes with the end of its trial.
    """

    def __init__(self, study: optuna.Study, folder: Path, clock: Clock) -> None:
        self.study, self.folder, self.clock = study, folder, clock
        self._written = 0.0

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """Nothing to keep yet."""

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Now and then the clock, so that a killed search loses no more than ten seconds of it."""
        if self.clock.seconds() - self._written > 10:
            self.write_clock()

    def finished(self, trial: FrozenTrial) -> None:
        """Drop what is no longer needed."""
        self.write_clock()
        best = record.winner(self.study)
        for other in record.finished(self.study):
            folder = record.folder_of(self.folder, other.number)
            (folder / STATE).unlink(missing_ok=True)
            if best is not None and other.number != best.number:
                shutil.rmtree(folder / MODEL, ignore_errors=True)

    def write_clock(self) -> None:
        """The seconds so far into the record."""
        self._written = self.clock.seconds()
        self.study.set_user_attr(record.SECONDS, round(self._written, 1))
