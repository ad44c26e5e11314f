"""Keeps a run folder small, and the time that its study has used in the record."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from search import run_folder
from search.execution.clock import Clock
from search.record import record
from search.run_folder import MODEL, STATE
from search.schedulers.pbt import Population

#: Trials whose files are looked for once more when a later one ends.
RECENT = 64


class Keeper:
    """Keeps the run folder small and the clock in the record.

    Of finished trials only the best one's model stays; a state file goes with the end of its trial, one from
    which others can begin when the `population` needs it no longer.
    """

    def __init__(
        self, study: optuna.Study, folder: Path, clock: Clock, population: Population | None = None
    ) -> None:
        self.study, self.folder, self.clock, self.population = study, folder, clock, population
        self._written = 0.0
        self._running: set[int] = set()
        self._best: int | None = None  #: whose model is kept
        #: Ended trials; their workers may still have been writing when their files were dropped.
        self._ended: deque[int] = deque(maxlen=RECENT)
        self._tidy = False  #: whether only the ends from now on can leave anything

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """One more that holds its share of a GPU."""
        self._running.add(trial.number)
        self.clock.running(len(self._running))

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Now and then the clock, so that a killed search loses no more than ten seconds of it."""
        if self.clock.seconds() - self._written > 10:
            self.write_clock()
        if self.population is not None:
            self.population.reached(number, int(metrics["epoch"]))

    def finished(self, trial: FrozenTrial) -> None:
        """Drop what is no longer needed."""
        self._running.discard(trial.number)
        self.clock.running(len(self._running))
        self.write_clock()
        best = record.winner(self.study)
        number = None if best is None else best.number
        self._ended.append(trial.number)
        ended = [*self._ended] if self._best is None else [*self._ended, self._best]
        if not self._tidy:  # an earlier process may have left something
            ended = [one.number for one in record.finished(self.study)]
        self._drop(ended, number)
        self._best, self._tidy = number, True
        if self.population is not None:
            self.population.tidy()

    def _drop(self, ended: Iterable[int], best: int | None) -> None:
        for number in ended:
            folder = run_folder.trial_folder(self.folder, number)
            (folder / STATE).unlink(missing_ok=True)
            if best is not None and number != best:
                shutil.rmtree(folder / MODEL, ignore_errors=True)

    def ended(self) -> None:
        """The study is over, its workers are gone; no trial will begin from another's state."""
        self.write_clock()
        self._drop(self._ended, self._best)
        if self.population is not None:
            self.population.clear()

    def write_clock(self) -> None:
        """What was used so far, into the record."""
        self._written = self.clock.seconds()
        self.study.set_user_attr(record.SECONDS, round(self._written, 1))
        if gpu_seconds := self.clock.gpu_seconds():
            self.study.set_user_attr(record.GPU_SECONDS, round(gpu_seconds, 1))
