"""A study as a sampler sees it: with comparable scores, predicted where a trial has none of a whole training.

Optuna's samplers take the record as it is. TPESampler ranks every pruned trial below all complete ones, of
which a scheduler leaves a few in a hundred. CmaEsSampler compares the last score of a trial that was pruned
after three epochs with those of whole trainings. Neither learns from a failure: both propose again what
cannot be trained. And both become slower with every trial (_tpe/sampler.py, _cmaes.py of Optuna 5.0). Here

- a pruned trial has the score that it would have reached, as the model of learning curves predicts it, with
  the variance of the prediction (predicted_scores.py): the scheduler compares the same prediction;
- so has a running trial once it has finished an epoch, in its user attributes;
- a configuration that diverges, needs too much memory or is invalid has the worst score of all;
- of many trials, the best and the latest are seen.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.curves.model import PredictedScore
from search.record import record
from search.samplers.predicted_scores import predicted_scores

#: User attributes of a trial as it is seen here: the variance of its predicted score; of a running trial, the
#: prediction itself.
SCORE_VARIANCE, PREDICTED = "variance of the predicted score", "predicted score"
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
    All are in the order of their numbers, as samplers expect it. The variance of a predicted score is in the
    trial's user attribute SCORE_VARIANCE, and the prediction of a running trial in PREDICTED.
    """
    trials = study.get_trials(deepcopy=False)
    ended = _best_and_latest([trial for trial in trials if _tells(trial)], max_trials)
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    scores = predicted_scores([*(trial for trial in ended if record.score(trial) is not None), *running])
    known = [scores[trial.number].score for trial in ended if trial.number in scores]
    worst = PredictedScore(min(known, default=0.0))
    view = [_as_complete(trial, *scores.get(trial.number, worst)) for trial in ended]
    view += [_as_predicted(trial, scores.get(trial.number)) for trial in running]
    return ImputedScores(study, sorted(view, key=lambda trial: trial.number))


def _tells(trial: FrozenTrial) -> bool:
    """Whether an ended trial tells something about its configuration."""
    return record.score(trial) is not None or _is_configuration_fault(trial)


def _best_and_latest(trials: Sequence[FrozenTrial], count: int) -> Sequence[FrozenTrial]:
    """At most `count` of the trials: a quarter are the best by their scores so far, the others the latest."""
    if len(trials) <= count:
        return trials
    by_score = sorted(trials, key=lambda trial: record.score(trial) or 0.0, reverse=True)
    best = {trial.number for trial in by_score[: count // 4]}
    others = [trial.number for trial in trials if trial.number not in best]
    seen = best.union(others[len(others) - (count - len(best)) :])
    return [trial for trial in trials if trial.number in seen]


def _is_configuration_fault(trial: FrozenTrial) -> bool:
    """Whether an ended trial without a score shows that its configuration cannot be trained."""
    if not trial.state.is_finished():
        return False
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


def _as_predicted(trial: FrozenTrial, end: PredictedScore | None) -> FrozenTrial:
    """A running trial with the prediction of its end, if there is one."""
    if end is None:
        return trial
    running = copy.copy(trial)
    running.user_attrs = trial.user_attrs | {PREDICTED: end.score, SCORE_VARIANCE: end.variance}
    return running
