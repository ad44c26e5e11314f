"""Ours with one thing changed: what each part of the search is worth."""

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

from benchmarks.efficiency.baselines import Maker, ours
from benchmarks.efficiency.simulator import Method, RayMethod
from search.execution.searcher import StudySearcher
from search.samplers.grouped import View
from search.samplers.imputed_scores import UNCERTAIN, Observed, observe
from search.samplers.registry import gaussian, make_sampler, seed_of
from search.space.schedule import Schedule
from search.space.space import Space


def changed(space: Space, workers: int, seed: int, *, starts: bool = True, **options: Any) -> Method:
    """Ours with other options of `our_method`, or without the space's start points."""
    if not starts:
        space = dataclasses.replace(space, starts=())
    return ours(space, workers, seed, **options)


def proposing(
    space: Space, workers: int, seed: int, *, view: View = observe, sobol: int = 0, **options: Any
) -> Method:
    """Ours whose process sees a study through `view`, begins with a Sobol sequence, or has `options`."""
    method = ours(space, workers, seed)
    assert isinstance(method, RayMethod)
    searcher = method.searcher
    assert isinstance(searcher, StudySearcher)

    def proposer(number: int) -> BaseSampler:
        if number < sobol:
            return make_sampler("qmc", seed, number, space)
        return gaussian(space, seed_of(seed, number), view, **options)

    searcher.proposer = proposer
    return method


def as_ranked(study: optuna.Study, most: int) -> optuna.Study:
    """What Optuna's TPE itself does: pruned trials rank below complete ones, by epoch and then by score."""
    ended = _ended(study)
    complete = {one.number: one.value or 0.0 for one in ended if one.state == TrialState.COMPLETE}
    pruned = {one.number: max(one.intermediate_values.items()) for one in ended if one.number not in complete}
    order = sorted(pruned, key=lambda number: pruned[number])
    return _shown(study, complete | {number: place - len(order) - 1.0 for place, number in enumerate(order)})


def _shown(study: optuna.Study, scores: Mapping[int, float]) -> Observed:
    """The trials that run and, as complete ones, those that have one of `scores`."""
    trials = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state == TrialState.RUNNING:
            trials.append(trial)
        elif trial.number in scores:
            shown = copy.copy(trial)
            shown.state, shown.values = TrialState.COMPLETE, [scores[trial.number]]
            trials.append(shown)
    return Observed(study, trials)


def _ended(study: optuna.Study) -> Sequence[FrozenTrial]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [trial for trial in trials if trial.intermediate_values]


def last_scores(study: optuna.Study, most: int) -> optuna.Study:
    """A pruned trial counts with the score that it had, as under Ray's OptunaSearch."""
    return _shown(study, {one.number: max(one.intermediate_values.values()) for one in _ended(study)})


def all_sure(study: optuna.Study, most: int) -> optuna.Study:
    """Predicted scores count as much as those of whole trainings."""
    trials = observe(study, most).get_trials()
    for trial in trials:
        trial.user_attrs.pop(UNCERTAIN, None)
    return Observed(study, trials)


def complete_only(study: optuna.Study, most: int) -> optuna.Study:
    """Pruned trials are not seen."""
    kept = [one for one in _ended(study) if one.state == TrialState.COMPLETE]
    return _shown(study, {one.number: one.value or 0.0 for one in kept})


def highest_rung(study: optuna.Study, most: int, least: int = 10) -> optuna.Study:
    """BOHB's rule (Falkner et al., ICML 2018): scores of the last epoch that `least` trials have reached."""
    ended = _ended(study)
    reached = Counter(epoch for one in ended for epoch in one.intermediate_values)
    epoch = max((epoch for epoch, count in reached.items() if count >= least), default=1)
    kept = [one for one in ended if epoch in one.intermediate_values]
    return _shown(study, {one.number: one.intermediate_values[epoch] for one in kept})


def asha(grace: int, reduction: int) -> Maker:
    """Ours with other rungs."""
    return partial(changed, schedule=Schedule("asha", grace=grace, reduction=reduction))


VARIANTS: Mapping[str, Maker] = {
    "without start points": partial(changed, starts=False),
    "20 trials before the process": partial(proposing, startup=20),
    "begun by a Sobol sequence": partial(proposing, sobol=10),
    "costs do not count": partial(proposing, cost=0.0),
    "predictions as sure as results": partial(proposing, view=all_sure),
    "pruned trials as Optuna ranks them": partial(proposing, view=as_ranked),
    "pruned trials with their last score": partial(proposing, view=last_scores),
    "pruned trials not seen": partial(proposing, view=complete_only),
    "scores of the highest full rung (BOHB)": partial(proposing, view=highest_rung),
    "grace 1": asha(1, 3),
    "grace 3": asha(3, 3),
    "reduction 2": asha(2, 2),
    "reduction 4": asha(2, 4),
    "Hyperband": partial(changed, schedule=Schedule("hyperband", grace=1)),
    "median stopping": partial(changed, schedule=Schedule("median")),
    "no scheduler": partial(changed, schedule=Schedule("none")),
    "random proposals": partial(changed, sampler="random"),
    "CMA-ES": partial(changed, sampler="cmaes"),
    "TPE": partial(changed, sampler="tpe"),
    "joint TPE": partial(changed, sampler="joint"),
}
