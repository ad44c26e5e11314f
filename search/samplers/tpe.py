"""tpe: Optuna's multivariate tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Falkner et al.,
ICML 2018).

Parameters that exist under the same conditions are modelled together: Optuna's own estimator would learn
about parameters under a condition from no trial that lacks one of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial

from search.samplers.encoding import Conditions
from search.samplers.factory import trial_seed
from search.samplers.grouped import Group, GroupedSampler, RelativeSampler
from search.samplers.parameter_groups import Distributions, condition_groups
from search.space.space import Space


def make_tpe(space: Space, seed: int, number: int) -> GroupedSampler:
    """tpe over all parameters."""
    own_seed = trial_seed(seed, number)
    return GroupedSampler(tpe_groups(condition_groups(space), own_seed), own_seed)


def tpe_groups(groups: Iterable[Distributions], seed: int) -> list[Group]:
    """A group for tpe of each of the `groups` that has parameters."""
    sampler = make_multivariate(seed)
    return [Group(group, lambda study: sampler) for group in groups if group]


def make_multivariate(seed: int, **options: Any) -> TPESampler:
    """Optuna's sampler, with its own `options`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # The constant liar counts running trials as bad ones, so that concurrent trials differ.
        return TPESampler(seed=seed, **{"multivariate": True, "constant_liar": True, **options})


class ConditionalTPESampler(RelativeSampler):
    """tpe for parameters whose conditions are found by the trials of a study.

    Args:
        seed: of its draws.
        conditions: of the parameters that do not always exist.
        options: of Optuna's TPESampler.
    """

    def __init__(self, seed: int, conditions: Conditions, **options: Any) -> None:
        self._sampler, self._conditions = make_multivariate(seed, **options), conditions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every parameter of a group that enough ended trials have."""
        groups: dict[str, Distributions] = {}
        for name, entry in search_space.items():
            groups.setdefault(repr(self._conditions.get(name)), {})[name] = entry
        params: dict[str, Any] = {}
        for group in groups.values():
            params |= self._sampler.sample_relative(study, trial, group)
        return params
