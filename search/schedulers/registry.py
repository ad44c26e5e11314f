"""The Ray schedulers that stop weak trials, made to survive a resume.

Ray's schedulers start empty after a restart: the first trials after a resume would be compared with nothing.
These are filled from the record, in which every epoch of every trial is kept. They also know a trial by its
number in the record: an interrupted trial that goes on is the same trial, not one more.

- asha: asynchronous successive halving (Li et al., MLSys 2020); rungs at grace * reduction^k epochs.
- hyperband: the same with several brackets that differ in their first rung (asynchronous Hyperband).
- median: the median stopping rule (Golovin et al., KDD 2017).
- pbt: population based training; see search/schedulers/pbt.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from search.record import record
from search.schedulers.pbt import Population, PopulationScheduler
from search.space.schedule import Schedule

#: Trial number in the record -> epoch -> best score so far.
Curves = Mapping[int, Mapping[int, float]]


def recorded_curves(study: optuna.Study) -> Curves:
    """The curves of all trials that did not fail."""
    kept = [trial for trial in record.begun(study) if trial.state != TrialState.FAIL]
    return {trial.number: dict(trial.intermediate_values) for trial in kept if trial.intermediate_values}


def make_scheduler(
    schedule: Schedule,
    *,
    metric: str,
    epochs: int,
    seed: int,
    curves: Curves,
    population: Population | None = None,
) -> TrialScheduler:
    """The scheduler that `schedule` describes, with what `curves` tell already in it; pbt's `population`."""
    if schedule.name == "pbt":
        assert population is not None
        return PopulationScheduler(metric, population)
    grace = min(schedule.grace, epochs)
    if schedule.name == "none":
        return FIFOScheduler()
    if schedule.name == "median":
        return RecordedMedian(metric, grace, curves)
    brackets = schedule.brackets if schedule.name == "hyperband" else 1
    most = 1
    while most < brackets and grace * schedule.reduction**most < epochs:
        most += 1  # a bracket without a rung would stop nothing
    return RecordedHalving(metric, epochs, grace, schedule.reduction, most, seed, curves)


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
            for milestone, recorded in self._bracket_of(number)._rungs:
                if reached := [epoch for epoch in curve if epoch >= milestone]:
                    recorded[_key(number)] = curve[min(reached)]

    def _bracket_of(self, number: int) -> Any:
        """The bracket of a trial: Ray's random choice, but the same after every restart."""
        sizes = np.array([len(bracket._rungs) for bracket in self._brackets])
        weights = np.exp(sizes - sizes.max())
        choice = np.random.default_rng([self._seed, number]).choice(len(sizes), p=weights / weights.sum())
        return self._brackets[choice]

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Ray has a new trial; where the record knows it, its rungs become this trial's."""
        number = trial.config["number"]
        bracket = self._trial_info[trial.trial_id] = self._bracket_of(number)
        for _, recorded in bracket._rungs:
            if _key(number) in recorded:
                recorded[trial.trial_id] = recorded.pop(_key(number))


class RecordedMedian(MedianStoppingRule):  # type: ignore[misc]
    """The median stopping rule over recorded and running trials; it stops trials and never pauses them."""

    def __init__(self, metric: str, grace: int, curves: Curves) -> None:
        super().__init__(time_attr="epoch", metric=metric, mode="max", grace_period=grace)
        for number, curve in curves.items():
            self._results[_key(number)] = [{"epoch": epoch, metric: curve[epoch]} for epoch in sorted(curve)]

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Ray has a new trial; where the record knows it, the recorded curve becomes this trial's."""
        recorded = self._results.pop(_key(trial.config["number"]), None)
        if recorded:
            self._results[trial] = recorded

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Ray's rule, but an epoch that a resumed trial reports again counts once."""
        known: Sequence[Mapping[str, Any]] = self._results.get(trial, ())
        if known and result.get("epoch", 0) <= known[-1]["epoch"]:
            return str(TrialScheduler.CONTINUE)
        slim = {key: result[key] for key in ("epoch", self._metric) if key in result}
        return str(super().on_trial_result(tune_controller, trial, slim))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """The last epoch of a trial that ended; a failed one may have none."""
        if {"epoch", self._metric} <= result.keys():
            self.on_trial_result(tune_controller, trial, result)

    def _on_insufficient_samples(self, tune_controller: Any, trial: Trial, time: float) -> str:
        return str(TrialScheduler.CONTINUE)


def _key(number: int) -> str:
    """A recorded trial's key beside Ray's trial ids."""
    return f"recorded-{number}"
