"""Ablations: the search of run_search.py with one component removed or replaced."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from benchmarks.efficiency.baselines import MethodFactory, ours
from benchmarks.efficiency.simulator import Method
from search.samplers.gp_sampler import make_gp
from search.samplers.grouped import StudyView
from search.samplers.imputed_scores import SCORE_VARIANCE, ImputedScores, with_imputed_scores
from search.space.schedule import Schedule
from search.space.space import Space


def with_options(space: Space, workers: int, seed: int, *, starts: bool = True, **options: Any) -> Method:
    """Ours with other options of `our_method`, or without the space's start points."""
    if not starts:
        space = dataclasses.replace(space, starts=())
    return ours(space, workers, seed, **options)


def with_gp(
    space: Space,
    workers: int,
    seed: int,
    *,
    view: StudyView = with_imputed_scores,
    **options: Any,
) -> Method:
    """Ours with another Gaussian process sampler.

    Args:
        space: the search space.
        workers: number of concurrent trials.
        seed: of the study.
        view: how pruned and running trials are presented to the sampler.
        options: of `GaussianProcessSampler`.
    """

    def make(number: int) -> BaseSampler:
        return make_gp(space, seed, number, view=view, **options)

    return ours(space, workers, seed, make_sampler=make)


def as_ranked(study: optuna.Study, max_trials: int) -> optuna.Study:
    """As in Optuna's TPE: pruned trials rank below complete ones, by last epoch and then by score there."""
    ended = _ended(study)
    complete = {trial.number: trial.value or 0.0 for trial in ended if trial.state == TrialState.COMPLETE}
    last_steps = {
        trial.number: max(trial.intermediate_values.items())
        for trial in ended
        if trial.number not in complete
    }
    order = sorted(last_steps, key=lambda number: last_steps[number])
    ranks = {number: rank - len(order) - 1.0 for rank, number in enumerate(order)}
    return _with_scores(study, complete | ranks)


def _with_scores(study: optuna.Study, scores: Mapping[int, float]) -> ImputedScores:
    """A view of the running trials, and of those in `scores` (trial number -> score) as complete ones."""
    trials = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state == TrialState.RUNNING:
            trials.append(trial)
        elif trial.number in scores:
            completed = copy.copy(trial)
            completed.state, completed.values = TrialState.COMPLETE, [scores[trial.number]]
            trials.append(completed)
    return ImputedScores(study, trials)


def _ended(study: optuna.Study) -> Sequence[FrozenTrial]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [trial for trial in trials if trial.intermediate_values]


def last_scores(study: optuna.Study, max_trials: int) -> optuna.Study:
    """As in Ray's OptunaSearch: a pruned trial counts with the score that it had when it was stopped."""
    scores = {trial.number: max(trial.intermediate_values.values()) for trial in _ended(study)}
    return _with_scores(study, scores)


def without_uncertainty(study: optuna.Study, max_trials: int) -> optuna.Study:
    """Extrapolated scores of pruned trials get no variance of their own: they count as observed ones."""
    trials = with_imputed_scores(study, max_trials).get_trials()
    for trial in trials:
        trial.user_attrs.pop(SCORE_VARIANCE, None)
    return ImputedScores(study, trials)


def complete_only(study: optuna.Study, max_trials: int) -> optuna.Study:
    """Pruned trials are left out."""
    complete = [trial for trial in _ended(study) if trial.state == TrialState.COMPLETE]
    return _with_scores(study, {trial.number: trial.value or 0.0 for trial in complete})


def highest_rung(study: optuna.Study, max_trials: int, min_trials: int = 10) -> optuna.Study:
    """BOHB's rule (Falkner et al., ICML 2018): scores at the last epoch that `min_trials` have reached."""
    ended = _ended(study)
    reached = Counter(epoch for trial in ended for epoch in trial.intermediate_values)
    epoch = max((epoch for epoch, count in reached.items() if count >= min_trials), default=1)
    return _with_scores(
        study,
        {
            trial.number: trial.intermediate_values[epoch]
            for trial in ended
            if epoch in trial.intermediate_values
        },
    )


def asha(grace: int, reduction: int) -> MethodFactory:
    """Ours with other rungs of ASHA."""
    return partial(with_options, schedule=Schedule("asha", grace=grace, reduction=reduction))


#: Name -> ablation; the names are those of the command line and of the tables.
ABLATIONS: Mapping[str, MethodFactory] = {
    "without start points": partial(with_options, starts=False),
    "20 trials before the process": partial(with_gp, startup=20),
    "begun at random": partial(with_gp, design_seed=None),
    "most likely kernel": partial(with_gp, draws=0),
    "costs do not count": partial(with_gp, cost_exponent=0.0),
    "predictions as sure as results": partial(with_gp, view=without_uncertainty),
    "pruned trials as Optuna ranks them": partial(with_gp, view=as_ranked),
    "pruned trials with their last score": partial(with_gp, view=last_scores),
    "pruned trials not seen": partial(with_gp, view=complete_only),
    "scores of the highest full rung (BOHB)": partial(with_gp, view=highest_rung),
    "grace 1": asha(1, 3),
    "grace 2": asha(2, 3),
    "reduction 2": asha(4, 2),
    "reduction 4": asha(4, 4),
    "Hyperband": partial(with_options, schedule=Schedule("hyperband", grace=1)),
    "median stopping": partial(with_options, schedule=Schedule("median")),
    "no scheduler": partial(with_options, schedule=Schedule("none")),
    "random proposals": partial(with_options, sampler="random"),
    "CMA-ES": partial(with_options, sampler="cmaes"),
    "TPE": partial(with_options, sampler="tpe"),
}
