"""Ends a search at the first exhausted limit of its budget, or on a signal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from optuna.trial import FrozenTrial
from ray import tune

from search.execution.clock import Clock
from search.execution.signals import SignalWatch
from search.record.snapshot import StudySnapshot
from search.record.trial_report import TrialReport
from search.space.budget import Budget, Spent, exhausted


class StudyStopper(tune.Stopper):  # type: ignore[misc]
    """Ends Ray's loop, which asks it after every event; a listener that counts the ended trials.

    Args:
        budget: of the study.
        clock: the time used so far.
        signals: whether the user wants to stop.
        on_ending: called once, with the reason, as soon as the search is to end.
    """

    def __init__(
        self, budget: Budget, clock: Clock, signals: SignalWatch, on_ending: Callable[[str], object]
    ) -> None:
        self.budget, self.clock, self.signals = budget, clock, signals
        self.ending = ""  #: why the search ends; empty while it goes on
        self._on_ending = on_ending
        self._spent = Spent()

    def __deepcopy__(self, memo: dict[int, Any]) -> StudyStopper:
        return self  # Ray copies the experiment's parts for every trial; there is one ending

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray snapshots the experiment's parts; no snapshot of it is ever restored

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never: the scheduler stops single trials."""
        return False

    def stop_all(self) -> bool:
        """Whether the search is over; `ending` then says why."""
        if not self.ending:
            spent = dataclasses.replace(
                self._spent, seconds=self.clock.seconds(), gpu_seconds=self.clock.gpu_seconds()
            )
            self.ending = "interrupted" if self.signals.interrupted else exhausted(self.budget, spent) or ""
            if self.ending:
                self._on_ending(self.ending)
        return bool(self.ending)

    def count(self, snapshot: StudySnapshot) -> None:
        """Count the trials that have ended."""
        self._spent = Spent(finished=len(snapshot.ended), scores=snapshot.scores)

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """Nothing: no limit counts started trials."""

    def epoch(self, number: int, report: TrialReport) -> None:
        """Nothing: an epoch uses time only, which the clock knows."""

    def finished(self, trial: FrozenTrial, snapshot: StudySnapshot) -> None:
        """One more trial has ended."""
        self.count(snapshot)
