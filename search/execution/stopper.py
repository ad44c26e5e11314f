"""Ends a search at the first exhausted budget or at a signal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from ray import tune

from search.execution.clock import Clock
from search.execution.signals import Interruption
from search.plan.plan import Plan
from search.record import record
from search.space.budget import Spent, exhausted


class StudyStopper(tune.Stopper):  # type: ignore[misc]
    """Ends Ray's loop at the first exhausted budget or at a signal; asked after every event."""

    def __init__(
        self,
        plan: Plan,
        study: optuna.Study,
        clock: Clock,
        interruption: Interruption,
        told: Callable[[str], None],
    ) -> None:
        self.plan, self.study, self.clock, self.interruption = plan, study, clock, interruption
        self.ending = ""
        self._told = told  #: hears the ending as soon as it is known
        self._spent = Spent()

    def __deepcopy__(self, memo: dict[int, Any]) -> StudyStopper:
        return self  # Ray copies the experiment's parts for every trial; there is one ending

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray snapshots the experiment's parts; no snapshot of it is ever restored

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never: single trials are the scheduler's matter."""
        return False

    def stop_all(self) -> bool:
        """Whether the search is over; `ending` then says why."""
        if not self.ending:
            spent = dataclasses.replace(
                self._spent, seconds=self.clock.seconds(), gpu_seconds=self.clock.gpu_seconds()
            )
            interrupted = self.interruption.signal is not None
            self.ending = "interrupted" if interrupted else exhausted(self.plan.budget, spent) or ""
            if self.ending:
                self._told(self.ending)
        return bool(self.ending)

    def count(self) -> None:
        """Look up in the record what the study has used."""
        ended = record.finished(self.study)
        self._spent = Spent(finished=len(ended), scores=[record.score(trial) for trial in ended])

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """A start uses up nothing that `exhausted` looks at."""

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """An epoch uses up time only."""

    def finished(self, trial: FrozenTrial) -> None:
        """One trial more."""
        self.count()
