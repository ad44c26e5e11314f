"""pbt: the scheduler of population based training for Ray."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.schedulers.factory import SchedulerContext
from search.schedulers.pbt import Population


def make_pbt(context: SchedulerContext) -> PBTScheduler:
    """The scheduler of the study's population."""
    if context.population is None:
        raise ValueError("the scheduler 'pbt' needs the population of its study")
    return PBTScheduler(context.metric, context.population)


class PBTScheduler(FIFOScheduler):  # type: ignore[misc]
    """PBT scheduler for Ray: stops replaced trials, never pauses one."""

    def __init__(self, metric: str, population: Population) -> None:
        super().__init__()
        self._metric, self.population = metric, population

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether the trial goes on; a failed one reports no score."""
        number, epoch, score = trial.config["number"], result.get("epoch"), result.get(self._metric)
        if epoch is None or score is None or not self.population.stops(number, epoch, score):
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)
