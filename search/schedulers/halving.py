"""asha and hyperband: asynchronous successive halving by predicted ends, made to survive a resume.

- asha (Li et al., MLSys 2020): rungs at grace * reduction^k epochs; at each, one in `reduction` is promoted.
- hyperband: the same with several brackets, which differ in their first rung (asynchronous Hyperband).

Ray's AsyncHyperBandScheduler compares scores at the rung. Trainings start at unlike speeds: with large
batches and averaged weights a curve can begin lowest and end best. Here a rung compares where the trials will
end, by the prediction that samplers use (search/samplers/predicted_scores.py). A trial that has a real chance
to become the best of all goes on, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.curves.model import PredictedScore
from search.schedulers.factory import Ends, SchedulerContext
from search.schedulers.recorded_curves import Curves

#: A trial with this probability to end above every other one is not stopped.
REAL_CHANCE = 0.1


def make_asha(context: SchedulerContext) -> PredictedHalving:
    """Successive halving with a single bracket."""
    return _make(context, brackets=1)


def make_hyperband(context: SchedulerContext) -> PredictedHalving:
    """Successive halving with the brackets of the schedule, as far as each has a rung."""
    return _make(context, context.schedule.brackets)


def _make(context: SchedulerContext, brackets: int) -> PredictedHalving:
    return PredictedHalving(
        context.metric,
        context.epochs,
        context.grace,
        context.schedule.reduction,
        brackets,
        context.seed,
        context.curves,
        context.ends,
    )


class PredictedHalving(FIFOScheduler):  # type: ignore[misc]
    """Asynchronous successive halving whose rungs know the recorded trials and compare predicted ends.

    Args:
        metric: the score, in what a trial reports.
        epochs: of a whole trial.
        grace: the first rung of the first bracket.
        reduction: one in so many trials is promoted.
        brackets: at most; each has a rung, unless a whole trial is no longer than `grace`.
        seed: of the study.
        curves: of the trials in the record.
        ends: predicts where trials end.
    """

    def __init__(
        self,
        metric: str,
        epochs: int,
        grace: int,
        reduction: int,
        brackets: int,
        seed: int,
        curves: Curves,
        ends: Ends,
    ) -> None:
        super().__init__()
        self._metric, self._epochs, self._reduction, self._ends = metric, epochs, reduction, ends
        self._seed = seed
        milestones = []
        while grace < epochs:
            milestones.append(grace)
            grace *= reduction
        #: of each bracket: the epoch of a rung -> the trials that have come to it
        self.brackets: list[dict[int, set[int]]] = [
            {milestone: set() for milestone in milestones[first:]}
            for first in range(max(1, min(brackets, len(milestones))))
        ]
        for number, curve in curves.items():
            for milestone, reached in self.bracket_of(number).items():
                if max(curve) >= milestone:
                    reached.add(number)

    def bracket_of(self, number: int) -> dict[int, set[int]]:
        """The bracket of a trial, the more likely the more rungs it has; the same after every restart."""
        sizes = np.array([len(bracket) for bracket in self.brackets])
        weights = np.exp(sizes - sizes.max())
        rng = np.random.default_rng([self._seed, number])
        return self.brackets[rng.choice(len(sizes), p=weights / weights.sum())]

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether the trial goes on; a failed one reports no score."""
        number, epoch, score = trial.config["number"], result.get("epoch"), result.get(self._metric)
        if epoch is None or score is None:
            return str(TrialScheduler.CONTINUE)
        if epoch >= self._epochs or self._stops(number, epoch, score):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """The trial has come as far as its last report says."""
        for milestone, reached in self.bracket_of(trial.config["number"]).items():
            if result.get(self._metric) is not None and result.get("epoch", 0) >= milestone:
                reached.add(trial.config["number"])

    def _stops(self, number: int, epoch: int, score: float) -> bool:
        """Decide at a rung, once: a trial that was resumed reports an epoch again."""
        passed = {
            milestone: reached for milestone, reached in self.bracket_of(number).items() if epoch >= milestone
        }
        if not passed or number in passed[max(passed)]:
            return False
        others = passed[max(passed)].copy()
        for reached in passed.values():
            reached.add(number)
        if not others:
            return False
        ends = dict(self._ends(number, epoch, score))
        own = ends.pop(number)
        rivals = [end.score for other, end in ends.items() if other in others]
        if not rivals or own.score >= np.quantile(rivals, 1 - 1 / self._reduction):
            return False
        return chance(own, max(end.score for end in ends.values())) < REAL_CHANCE


def chance(end: PredictedScore, best: float) -> float:
    """The probability that a trial ends above `best`."""
    from scipy.special import ndtr  # only where it is used: a search starts fast

    return float(ndtr((end.score - best) / max(end.variance, 1e-12) ** 0.5))
