"""joint: Optuna's multivariate tree-structured Parzen estimator, over each group of parameters together."""

from __future__ import annotations

from optuna.samplers import TPESampler

from search.samplers.factory import trial_seed
from search.samplers.grouped import Group, GroupedSampler
from search.samplers.parameter_groups import condition_groups
from search.space.space import Space


def make_joint_tpe(space: Space, seed: int, number: int) -> GroupedSampler:
    """joint over all parameters: those that exist under the same conditions are modelled together."""
    own_seed = trial_seed(seed, number)
    # The constant liar counts running trials as bad ones, so that concurrent trials differ.
    sampler = TPESampler(multivariate=True, constant_liar=True, seed=own_seed)
    groups = [Group(group, lambda study: sampler) for group in condition_groups(space) if group]
    return GroupedSampler(groups, own_seed)
