"""What a sampler sees of a study: scores that can be compared, of the trials that matter.

Optuna's samplers take the record as it is. TPESampler ranks every trial that was stopped below all complete
ones, of which a scheduler leaves a few in a hundred; CmaEsSampler compares the last score of a trial that was
stopped after three epochs with those of whole trainings; neither learns from a failure, so that both propose
again what cannot be trained; and both become slower with every trial (_tpe/sampler.py, _cmaes.py of Optuna
5.0). Here

- a trial that was stopped early has the score that it would have reached, by lines through the trials that
  went on, and the variance of that prediction;
- a configuration that diverges, needs too much memory or is invalid has the worst score of all;
- of many trials, the best and the latest are shown.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from search.record import record

Floats = NDArray[np.float64]
#: The user attribute of a shown trial that has the variance of its predicted score.
UNCERTAIN = "variance of the predicted score"
#: How the reason of a failure begins that lies in the configuration, and would come again.
OWN_FAULTS = ("diverged", "out of memory", "invalid configuration")


class Observed(optuna.Study):
    """The study with other trials in it; what a sampler stores goes to the record itself.

    Optuna's HyperbandPruner shows a bracket to a sampler in the same way.
    """

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        self.__dict__.update(study.__dict__)
        self._shown = trials

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = [trial for trial in self._shown if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials


def observe(study: optuna.Study, most: int) -> Observed:
    """The view of `study`: the trials that run, and at most `most` of those that ended.

    Of more, the best quarter of `most` and the latest of the others. All stand in the order of their numbers,
    as samplers expect it. How uncertain a score is, is in the trial's user attribute UNCERTAIN.
    """
    trials = study.get_trials(deepcopy=False)
    ended = _scored([trial for trial in trials if trial.state.is_finished()])
    if len(ended) > most:
        by_score = sorted(ended, key=lambda number: ended[number].score, reverse=True)
        best = set(by_score[: most // 4])
        rest = [number for number in ended if number not in best]
        kept = best.union(rest[len(rest) - (most - len(best)) :])
        ended = {number: final for number, final in ended.items() if number in kept}
    shown = []
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            shown.append(trial)
        elif trial.number in ended:
            shown.append(_as_complete(trial, *ended[trial.number]))
    return Observed(study, shown)


class Final(NamedTuple):
    """The score of a whole training, and the variance of its prediction: 0 where it is known."""

    score: float
    variance: float = 0.0


def _scored(ended: Sequence[FrozenTrial]) -> dict[int, Final]:
    """Trial number -> comparable score, of trials that say something about their configuration."""
    finals = {one.number: Final(one.values[0]) for one in ended if one.state == TrialState.COMPLETE}
    stopped = [one for one in ended if one.state == TrialState.PRUNED and one.intermediate_values]
    finals |= _predicted([*(one for one in ended if one.number in finals), *stopped], stopped)
    worst = Final(min((final.score for final in finals.values()), default=0.0))
    return {
        trial.number: finals.get(trial.number, worst)
        for trial in ended
        if trial.number in finals or _is_own_fault(trial)
    }


def _predicted(trials: Sequence[FrozenTrial], stopped: Sequence[FrozenTrial]) -> dict[int, Final]:
    """What the `stopped` ones among `trials` would have reached.

    From each epoch at which any was stopped to the next one such, and from the last to the end, by a line
    through the trials that went so far.
    """
    last = {one.number: max(one.intermediate_values) for one in stopped}
    epochs = sorted(set(last.values()))
    # What each trial had at those epochs, and in the end; NaN: it was stopped before.
    table = np.full((len(trials), len(epochs) + 1), math.nan)
    for row, trial in enumerate(trials):
        complete = trial.state == TrialState.COMPLETE
        for column, epoch in enumerate(epochs):
            table[row, column] = trial.intermediate_values.get(
                epoch, trial.values[0] if complete else math.nan
            )
        if complete:
            table[row, -1] = trial.values[0]
    scores = {one.number: one.intermediate_values[last[one.number]] for one in stopped}
    found = {number: Final(score) for number, score in scores.items()}
    for column, epoch in enumerate(epochs):
        line = _line(table[:, column], table[:, column + 1])
        found |= {
            number: Final(line.intercept + line.slope * score, line.slope**2 * variance + line.variance)
            for number, (score, variance) in found.items()
            if last[number] <= epoch
        }
    return found


class _Line(NamedTuple):
    slope: float
    intercept: float
    variance: float  #: of what it predicts


def _line(before: Floats, after: Floats) -> _Line:
    """The line from scores at one epoch to those at a later one, by the trials that have both.

    Low scores gain more than high ones. The slope comes by least squares, with as much weight on 1 as one
    typical trial has; the height is the median, which single leaps do not move.
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


def _is_own_fault(trial: FrozenTrial) -> bool:
    """Whether a trial without a score says that its configuration cannot be trained."""
    reason = trial.user_attrs.get(record.REASON) or trial.user_attrs.get(record.NOT_RUN) or ""
    return str(reason).startswith(OWN_FAULTS) or any(value > 0 for value in trial.constraints.values())


def _as_complete(trial: FrozenTrial, score: float, variance: float) -> FrozenTrial:
    """The trial itself where it is complete, or a copy that looks so; never one with constraints.

    Constraints are in the score already.
    """
    if trial.state == TrialState.COMPLETE and not trial.constraints:
        return trial
    shown = copy.copy(trial)
    shown.state, shown.values = TrialState.COMPLETE, [score]
    shown.user_attrs = trial.user_attrs | {UNCERTAIN: variance}
    shown.system_attrs = {
        key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints")
    }
    return shown
