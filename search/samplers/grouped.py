"""A sampler for each group of parameters, and the base class of our own samplers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from search.samplers.imputed_scores import with_imputed_scores
from search.samplers.parameter_groups import Distributions

#: Ended trials that a sampler sees: more of them make a proposal slower and no better.
MAX_TRIALS = 500
#: A study and a maximum number of ended trials -> the study as a sampler sees it, with comparable scores.
StudyView = Callable[[optuna.Study, int], optuna.Study]


class Group(NamedTuple):
    """Parameters that one sampler proposes together."""

    distributions: Distributions
    make_sampler: Callable[[optuna.Study], BaseSampler]  #: called with the study as the sampler sees it


class GroupedSampler(BaseSampler):
    """Proposes each group of parameters with a sampler of its own, and the other parameters at random.

    Args:
        groups: of the parameters of a space.
        seed: of the random values.
        max_trials: ended trials that a sampler sees.
        view: how a sampler sees the study.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        seed: int,
        max_trials: int = MAX_TRIALS,
        view: StudyView = with_imputed_scores,
    ) -> None:
        self._groups, self._max_trials, self._view = tuple(groups), max_trials, view
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Distributions:
        """All parameters; values of those that do not exist in `trial` are proposed and not used."""
        return {name: entry for group in self._groups for name, entry in group.distributions.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """The values of every group; none for a group whose sampler has seen too few trials."""
        seen = self._view(study, self._max_trials)
        params: dict[str, Any] = {}
        for group in self._groups:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler = group.make_sampler(seen)
            params |= sampler.sample_relative(seen, trial, group.distributions)
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of a parameter that no group's sampler has proposed."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


class RelativeSampler(BaseSampler):
    """A sampler that only proposes the parameters of a group together, inside a `GroupedSampler`."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Distributions:
        """None: the group says which parameters are proposed."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never called: `GroupedSampler` draws what this sampler does not propose."""
        raise RuntimeError(f"{type(self).__name__} proposes whole groups of a GroupedSampler only")
