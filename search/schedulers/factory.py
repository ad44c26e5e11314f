"""What a scheduler factory is, and what it gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ray.tune.schedulers import TrialScheduler

from search.schedulers.pbt import Population
from search.schedulers.recorded_curves import Curves
from search.space.schedule import Schedule


@dataclass(frozen=True)
class SchedulerContext:
    """The study that a scheduler is made for."""

    schedule: Schedule
    metric: str  #: the score, in what a trial reports
    epochs: int  #: of a whole trial
    seed: int  #: of the study
    curves: Curves  #: of the trials in the record
    population: Population | None = None  #: of population based training

    @property
    def grace(self) -> int:
        """The grace period: epochs that every trial gets."""
        return min(self.schedule.grace, self.epochs)


SchedulerFactory = Callable[[SchedulerContext], TrialScheduler]
