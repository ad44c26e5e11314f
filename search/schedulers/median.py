"""median: the median stopping rule (Golovin et al., KDD 2017), made to survive a resume.

See recorded_curves.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from search.schedulers.factory import SchedulerContext
from search.schedulers.recorded_curves import Curves, recorded_key


def make_median(context: SchedulerContext) -> RecordedMedian:
    """The median stopping rule of the schedule."""
    return RecordedMedian(context.metric, context.grace, context.curves)


class RecordedMedian(MedianStoppingRule):  # type: ignore[misc]
    """The median stopping rule over recorded and running trials; it stops trials and never pauses them."""

    def __init__(self, metric: str, grace: int, curves: Curves) -> None:
        super().__init__(time_attr="epoch", metric=metric, mode="max", grace_period=grace)
        for number, curve in curves.items():
            results = [{"epoch": epoch, metric: curve[epoch]} for epoch in sorted(curve)]
            self._results[recorded_key(number)] = results

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Ray has a new trial; if it is in the record, its recorded curve becomes this trial's."""
        recorded = self._results.pop(recorded_key(trial.config["number"]), None)
        if recorded:
            self._results[trial] = recorded

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Ray's rule, but an epoch that a resumed trial reports again counts once."""
        earlier: Sequence[Mapping[str, Any]] = self._results.get(trial, ())
        if earlier and result.get("epoch", 0) <= earlier[-1]["epoch"]:
            return str(TrialScheduler.CONTINUE)
        slim = {key: result[key] for key in ("epoch", self._metric) if key in result}
        return str(super().on_trial_result(tune_controller, trial, slim))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """The last epoch of a trial that ended; a failed one may have none."""
        if {"epoch", self._metric} <= result.keys():
            self.on_trial_result(tune_controller, trial, result)

    def _on_insufficient_samples(self, tune_controller: Any, trial: Trial, time: float) -> str:
        return str(TrialScheduler.CONTINUE)
