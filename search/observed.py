"""What a sampler sees of a study: scores that can be compared, of the trials that matter.

Optuna's samplers take the record as it is. GPSampler sees complete trials only, of which a scheduler leaves a
few in a hundred; CmaEsSampler compares the last score of a trial that was stopped after three epochs with
those of whole trainings; none learns from a failure, so that each proposes again what cannot be trained; and
all become slower with every trial (_gp/sampler.py, _cmaes.py, _tpe/sampler.py of Optuna 5.0). Here

- a trial that was stopped early has the score that it would have reached by gaining from there on what the
  complete trials gained in the median;
- a configuration that diverges, needs too much memory or is invalid has the worst score of all;
- of many trials, the best and the latest are shown.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from statistics import median

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import record

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
    as samplers expect it.
    """
    trials = study.get_trials(deepcopy=False)
    ended = _scored([trial for trial in trials if trial.state.is_finished()])
    if len(ended) > most:
        by_score = sorted(ended, key=lambda number: ended[number], reverse=True)
        best = set(by_score[: most // 4])
        rest = [number for number in ended if number not in best]
        kept = best.union(rest[len(rest) - (most - len(best)) :])
        ended = {number: score for number, score in ended.items() if number in kept}
    shown = []
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            shown.append(trial)
        elif trial.number in ended:
            shown.append(_as_complete(trial, ended[trial.number]))
    return Observed(study, shown)


def _scored(ended: Sequence[FrozenTrial]) -> dict[int, float]:
    """Trial number -> comparable score, of trials that say something about their configuration."""
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    gains: dict[int, float] = {}
    scores: dict[int, float] = {}
    for trial in ended:
        if trial.state == TrialState.COMPLETE:
            scores[trial.number] = trial.values[0]
        elif trial.state == TrialState.PRUNED and trial.intermediate_values:
            epoch, score = max(trial.intermediate_values.items())
            if epoch not in gains:
                gains[epoch] = _gain(complete, epoch)
            scores[trial.number] = score + gains[epoch]
    worst = min(scores.values(), default=0.0)
    return {
        trial.number: scores.get(trial.number, worst)
        for trial in ended
        if trial.number in scores or _is_own_fault(trial)
    }


def _gain(complete: Sequence[FrozenTrial], epoch: int) -> float:
    """What the complete trials gained after `epoch`, in the median; 0 where there is none."""
    gained = [
        trial.values[0] - trial.intermediate_values[epoch]
        for trial in complete
        if epoch in trial.intermediate_values
    ]
    return median(gained) if gained else 0.0


def _is_own_fault(trial: FrozenTrial) -> bool:
    """Whether a trial without a score says that its configuration cannot be trained."""
    reason = trial.user_attrs.get(record.REASON) or trial.user_attrs.get(record.NOT_RUN) or ""
    return str(reason).startswith(OWN_FAULTS) or any(value > 0 for value in trial.constraints.values())


def _as_complete(trial: FrozenTrial, score: float) -> FrozenTrial:
    """The trial itself where it is complete, or a copy that looks so; never one with constraints.

    Constraints are in the score, and GPSampler refuses a study in which some trials have none.
    """
    if trial.state == TrialState.COMPLETE and not trial.constraints:
        return trial
    shown = copy.copy(trial)
    shown.state, shown.values = TrialState.COMPLETE, [score]
    shown.system_attrs = {
        key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints")
    }
    return shown
