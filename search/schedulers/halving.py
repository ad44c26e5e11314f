"""asha and hyperband: asynchronous successive halving, made to survive a resume (see recorded_curves.py).

- asha (Li et al., MLSys 2020): rungs at grace * reduction^k epochs; at each, one in `reduction` is promoted.
- hyperband: the same with several brackets, which differ in their first rung (asynchronous Hyperband).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler

from search.schedulers.factory import SchedulerContext
from search.schedulers.recorded_curves import Curves, recorded_key


def make_asha(context: SchedulerContext) -> RecordedHalving:
    """Successive halving with a single bracket."""
    return _make(context, brackets=1)


def make_hyperband(context: SchedulerContext) -> RecordedHalving:
    """Successive halving with the brackets of the schedule, as far as each has a rung."""
    grace, reduction = context.grace, context.schedule.reduction
    brackets = 1
    while brackets < context.schedule.brackets and grace * reduction**brackets < context.epochs:
        brackets += 1
    return _make(context, brackets)


def _make(context: SchedulerContext, brackets: int) -> RecordedHalving:
    return RecordedHalving(
        context.metric,
        context.epochs,
        context.grace,
        context.schedule.reduction,
        brackets,
        context.seed,
        context.curves,
    )


class RecordedHalving(AsyncHyperBandScheduler):  # type: ignore[misc]
    """Asynchronous successive halving whose rungs hold the recorded trials."""

    def __init__(
        self, metric: str, epochs: int, grace: int, reduction: int, brackets: int, seed: int, curves: Curves
    ) -> None:
        super().__init__(
            time_attr="epoch", metric=metric, mode="max", max_t=epochs, grace_period=grace,
            reduction_factor=reduction, brackets=brackets,
        )  # fmt: skip
        self._seed = seed
        for number, curve in curves.items():
            for milestone, scores in self._bracket_of(number)._rungs:
                if reached := [epoch for epoch in curve if epoch >= milestone]:
                    scores[recorded_key(number)] = curve[min(reached)]

    def _bracket_of(self, number: int) -> Any:
        """The bracket of a trial: drawn as Ray draws it, but the same after every restart."""
        sizes = np.array([len(bracket._rungs) for bracket in self._brackets])
        weights = np.exp(sizes - sizes.max())
        rng = np.random.default_rng([self._seed, number])
        return self._brackets[rng.choice(len(sizes), p=weights / weights.sum())]

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Ray has a new trial; if it is in the record, its recorded scores become this trial's."""
        number = trial.config["number"]
        bracket = self._trial_info[trial.trial_id] = self._bracket_of(number)
        for _, scores in bracket._rungs:
            if recorded_key(number) in scores:
                scores[trial.trial_id] = scores.pop(recorded_key(number))
