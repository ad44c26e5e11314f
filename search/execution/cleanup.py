"""Removes files from the run folder that are no longer needed, and keeps the used time in the record."""

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
from search.record import record, times
from search.record.snapshot import StudySnapshot, take_snapshot
from search.record.trial_report import TrialReport
from search.run_folder import MODEL, STATE
from search.schedulers.pbt import Population

#: Seconds between two writings of the clock while nothing else is written: what a kill can lose.
CLOCK_EVERY = 10.0
#: From so many seconds up, a difference between total time and time of the search is a final stage.
FINAL_STAGE = 0.05
#: So many of the last ended trials are cleaned up again when another one ends.
RECENT = 64


class RunFolderCleanup:
    """A listener that keeps the run folder small, and the used time in the record, also in the final stage.

    Of all ended trials only the best one's model stays. A trial's state file is removed when the trial ends;
    a state from which other trials can start, when the `population` no longer needs it.
    """

    def __init__(
        self, study: optuna.Study, folder: Path, clock: Clock, population: Population | None = None
    ) -> None:
        self.study, self.folder, self.clock, self.population = study, folder, clock, population
        self._written = 0.0  #: total time in the record
        self._running: set[int] = set()
        self._best: int | None = None  #: the trial whose model is kept
        #: Ended trials; their workers may still have been writing when their files were removed.
        self._ended: deque[int] = deque(maxlen=RECENT)
        self._clean = False  #: whether trials that ended before this process are cleaned up

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """One more trial holds its share of a GPU."""
        self._running.add(trial.number)
        self.clock.running(len(self._running))

    def epoch(self, number: int, report: TrialReport) -> None:
        """Write the clock now and then, so that a killed search loses little of it."""
        self._keep_time()
        if self.population is not None:
            self.population.reached(number, report.epoch)

    def finished(self, trial: FrozenTrial, snapshot: StudySnapshot) -> None:
        """Remove what is no longer needed."""
        self._running.discard(trial.number)
        self.clock.running(len(self._running))
        self.write_clock()
        best = None if snapshot.winner is None else snapshot.winner.number
        self._ended.append(trial.number)
        ended = [*self._ended] if self._best is None else [*self._ended, self._best]
        if not self._clean:  # an earlier process may have left files
            ended = [ended_trial.number for ended_trial in snapshot.ended]
        self._remove(ended, best)
        self._best, self._clean = best, True
        if self.population is not None:
            self.population.tidy()

    def job_started(self, label: str) -> None:
        """Nothing: no budget limits the final stage, so what it holds of the GPUs is not counted."""

    def job_epoch(self, label: str, report: TrialReport) -> None:
        """Write the clock now and then, so that a kill in the final stage loses little of it."""
        self._keep_time()

    def job_ended(self, label: str, result: object) -> None:
        """Write the clock: what follows the last training can take long."""
        self.write_clock()

    def _keep_time(self) -> None:
        if self.clock.total_seconds() - self._written > CLOCK_EVERY:
            self.write_clock()

    def _remove(self, ended: Iterable[int], best: int | None) -> None:
        """Remove the states of `ended` trials, and their models but that of the `best`."""
        for number in ended:
            folder = run_folder.trial_folder(self.folder, number)
            (folder / STATE).unlink(missing_ok=True)
            if best is not None and number != best:
                shutil.rmtree(folder / MODEL, ignore_errors=True)

    def ended(self) -> None:
        """The study is over and its workers are gone: no trial will start from another trial's state."""
        self.write_clock()
        self.study.set_user_attr(times.ENDED_AT, times.now())
        snapshot = take_snapshot(self.study)
        best = None if snapshot.winner is None else snapshot.winner.number
        # All trials: an earlier process may have left files, and no trial ended in this one.
        self._remove([trial.number for trial in snapshot.ended], best)
        if self.population is not None:
            self.population.clear()

    def write_clock(self) -> None:
        """Write the time used so far to the record."""
        seconds, self._written = self.clock.seconds(), self.clock.total_seconds()
        self.study.set_user_attr(record.SECONDS, round(seconds, 1))
        if self._written - seconds > FINAL_STAGE:
            self.study.set_user_attr(record.TOTAL_SECONDS, round(self._written, 1))
        if gpu_seconds := self.clock.gpu_seconds():
            self.study.set_user_attr(record.GPU_SECONDS, round(gpu_seconds, 1))
