"""cmaes: CMA-ES with margin (Hamano et al., GECCO 2022) over the numbers that always exist.

What it cannot model is left to tpe: choices, and parameters under a condition.
"""

from __future__ import annotations

import copy

import optuna
from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial, TrialState

from rigsl.errors import UserError
from search.samplers.factory import trial_seed
from search.samplers.grouped import Group, GroupedSampler
from search.samplers.parameter_groups import Distributions, condition_groups, numbers_and_choices
from search.samplers.tpe import tpe_groups
from search.space.space import Space

#: Trials of other samplers from whose best CMA-ES starts; with fewer it starts in the middle of the ranges.
MIN_SOURCE_TRIALS = 10
#: System attributes in which CmaEsSampler marks its own trials and keeps its state.
GENERATION, STATE = "cmawm:generation", "cmawm:optimizer:0"


def make_cmaes(space: Space, seed: int, number: int) -> GroupedSampler:
    """cmaes over the numbers without a condition, and tpe over the other parameters.

    Raises:
        UserError: `space` has fewer than two such numbers.
    """
    own_seed = trial_seed(seed, number)
    unconditional, *conditional = condition_groups(space)
    numbers, choices = numbers_and_choices(unconditional)
    if len(numbers) < 2:
        raise UserError(f"{space.path}: cmaes needs two numbers without a condition; take another sampler")
    modelled = Group(numbers, lambda study: _cmaes(study, numbers, own_seed))
    return GroupedSampler([modelled, *tpe_groups([choices, *conditional], own_seed)], own_seed)


def _cmaes(study: optuna.Study, numbers: Distributions, seed: int) -> CmaEsSampler:
    """CMA-ES as its last trial left it; else warm-started by other trials (Nomura et al., AAAI 2021)."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    source = []
    if not any(STATE in trial.system_attrs for trial in ended):
        source = [_restricted(trial, numbers) for trial in ended if GENERATION not in trial.system_attrs]
    enough = len(source) >= MIN_SOURCE_TRIALS
    return CmaEsSampler(seed=seed, with_margin=True, source_trials=source if enough else None)


def _restricted(trial: FrozenTrial, group: Distributions) -> FrozenTrial:
    """A copy of `trial` with the parameters of `group` only."""
    restricted = copy.copy(trial)
    restricted.params, restricted.distributions = {name: trial.params[name] for name in group}, group
    return restricted
