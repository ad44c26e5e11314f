"""A study as a sampler sees it: with comparable scores, imputed where a trial has none of a whole training.

Optuna's samplers take the record as it is. TPESampler ranks every pruned trial below all complete ones, of
which a scheduler leaves a few in a hundred. CmaEsSampler compares the last score of a trial that was pruned
after three epochs with those of whole trainings. Neither learns from a failure: both propose again what
cannot be trained. And both become slower with every trial (_tpe/sampler.py, _cmaes.py of Optuna 5.0). Here

- the score of a pruned trial is extrapolated to the last epoch, by regression lines through the trials that
  went on, and comes with the variance of this prediction;
- a configuration that diverges, needs too much memory or is invalid has the worst score of all;
- children of population based training are not seen: they owe their scores to their parents' weights, too;
- of many trials, the best and the latest are seen.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from search.record import lineage, record
from search.samplers.encoding import Floats

#: User attribute of a trial as it is seen here: the variance of its extrapolated score.
SCORE_VARIANCE = "variance of the predicted score"
#: Beginnings of failure reasons that are the fault of the configuration: it would fail again.
CONFIGURATION_FAULTS = ("diverged", "out of memory", "invalid configuration")


class ImputedScores(optuna.Study):
    """A study with other trials in it; what a sampler stores goes to the study itself.

    Optuna's HyperbandPruner shows a bracket to a sampler in the same way.
    """

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        self.__dict__.update(study.__dict__)
        self._trials = trials

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials


def with_imputed_scores(study: optuna.Study, max_trials: int) -> ImputedScores:
    """A view of `study`: its running trials, and at most `max_trials` of the ended ones, as complete trials.

    Where there are more, a quarter of `max_trials` are the best trials, the others the latest of the rest.
    All are in the order of their numbers, as samplers expect it. The variance of an extrapolated score is in
    the trial's user attribute SCORE_VARIANCE.
    """
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state.is_finished() and lineage.origin(trial) is None]
    scores = _comparable_scores(ended)
    if len(scores) > max_trials:
        by_score = sorted(scores, key=lambda number: scores[number].score, reverse=True)
        best = set(by_score[: max_trials // 4])
        others = [number for number in scores if number not in best]
        seen = best.union(others[len(others) - (max_trials - len(best)) :])
        scores = {number: score for number, score in scores.items() if number in seen}
    view = []
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            view.append(trial)
        elif trial.number in scores:
            view.append(_as_complete(trial, *scores[trial.number]))
    return ImputedScores(study, view)


class PredictedScore(NamedTuple):
    """The score of a whole training, and the variance of its prediction: 0 where it was measured."""

    score: float
    variance: float = 0.0


def _comparable_scores(ended: Sequence[FrozenTrial]) -> dict[int, PredictedScore]:
    """Trial number -> score, of the trials that tell something about their configuration."""
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in ended if trial.state == TrialState.PRUNED and trial.intermediate_values]
    scores = {trial.number: PredictedScore(trial.values[0]) for trial in complete}
    scores |= _extrapolated([*complete, *pruned], pruned)
    worst = PredictedScore(min((score.score for score in scores.values()), default=0.0))
    return {
        trial.number: scores.get(trial.number, worst)
        for trial in ended
        if trial.number in scores or _is_configuration_fault(trial)
    }


def _extrapolated(trials: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial]) -> dict[int, PredictedScore]:
    """The scores that the `pruned` ones among `trials` would have reached.

    Each score is carried from one epoch at which trials were pruned to the next, and from the last of them to
    the end, by a regression line through the trials that were trained so far.
    """
    last_epochs = {trial.number: max(trial.intermediate_values) for trial in pruned}
    epochs = sorted(set(last_epochs.values()))
    # The score of each trial at those epochs and at the end; NaN: it was pruned before. [trials, epochs + 1]
    table = np.full((len(trials), len(epochs) + 1), math.nan)
    for row, trial in enumerate(trials):
        final = trial.values[0] if trial.state == TrialState.COMPLETE else math.nan
        for column, epoch in enumerate(epochs):
            table[row, column] = trial.intermediate_values.get(epoch, final)
        table[row, -1] = final
    scores = {
        trial.number: PredictedScore(trial.intermediate_values[last_epochs[trial.number]]) for trial in pruned
    }
    for column, epoch in enumerate(epochs):
        line = _fit_line(table[:, column], table[:, column + 1])
        scores |= {
            number: PredictedScore(
                line.intercept + line.slope * score, line.slope**2 * variance + line.variance
            )
            for number, (score, variance) in scores.items()
            if last_epochs[number] <= epoch
        }
    return scores


class _Line(NamedTuple):
    slope: float
    intercept: float
    variance: float  #: of its residuals


def _fit_line(before: Floats, after: Floats) -> _Line:
    """The regression line from scores at one epoch to those at a later one, by the trials that have both.

    Low scores gain more than high ones. The slope is that of least squares, shrunk towards 1 with the weight
    of one typical trial; the intercept is a median, which a single outlier does not move.
    """
    both = np.isfinite(before) & np.isfinite(after)
    if not both.any():
        return _Line(1.0, 0.0, 0.0)
    x, y = before[both], after[both]
    prior = float(np.nanvar(before))
    from_mean = x - x.mean()
    weight = float(from_mean @ from_mean) + prior
    slope = (float(from_mean @ (y - y.mean())) + prior) / weight if weight else 1.0
    intercept = float(np.median(y - slope * x))
    return _Line(slope, intercept, float(np.mean((y - slope * x - intercept) ** 2)))


def _is_configuration_fault(trial: FrozenTrial) -> bool:
    """Whether a trial without a score shows that its configuration cannot be trained."""
    reason = trial.user_attrs.get(record.REASON) or trial.user_attrs.get(record.NOT_RUN) or ""
    violated = any(value > 0 for value in trial.constraints.values())
    return str(reason).startswith(CONFIGURATION_FAULTS) or violated


def _as_complete(trial: FrozenTrial, score: float, variance: float) -> FrozenTrial:
    """The trial itself where it is complete, or a complete copy of it; never one with constraints.

    The constraints are in the score already.
    """
    if trial.state == TrialState.COMPLETE and not trial.constraints:
        return trial
    complete = copy.copy(trial)
    complete.state, complete.values = TrialState.COMPLETE, [score]
    complete.user_attrs = trial.user_attrs | {SCORE_VARIANCE: variance}
    complete.system_attrs = {
        key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints")
    }
    return complete
