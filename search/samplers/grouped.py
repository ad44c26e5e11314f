"""A sampler for each part of a space, and what such a sampler is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from search.samplers.imputed_scores import observe

Distributions = dict[str, BaseDistribution]
#: A study and most trials -> the study with so many trials, their scores made comparable.
View = Callable[[optuna.Study, int], optuna.Study]


class Part(NamedTuple):
    """Parameters that one sampler draws together."""

    distributions: Distributions
    sampler: Callable[[optuna.Study], BaseSampler]  #: made for what it sees


class PartsSampler(BaseSampler):
    """Draws each part of a space with a sampler of its own, the rest at random.

    Args:
        parts: of the space.
        most: trials that a sampler sees.
        seed: of what is drawn at random.
        view: what of a study it sees.
    """

    def __init__(self, parts: Iterable[Part], most: int, seed: int, view: View = observe) -> None:
        self._parts, self._most, self._rest = tuple(parts), most, RandomSampler(seed=seed)
        self._view = view

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Distributions:
        """All parameters; those that do not exist in `trial` are drawn and not used."""
        return {name: found for part in self._parts for name, found in part.distributions.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """Every part's values; none where its sampler has seen too little."""
        seen = self._view(study, self._most)
        params: dict[str, Any] = {}
        for part in self._parts:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler = part.sampler(seen)
            params |= sampler.sample_relative(seen, trial, part.distributions)
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of what no part has drawn."""
        return self._rest.sample_independent(study, trial, param_name, param_distribution)


class PartSampler(BaseSampler):
    """Draws the parameters of a part together, from a study that a `PartsSampler` shows it."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Distributions:
        """None: the part says what is drawn."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Not asked for: what it does not propose, `PartsSampler` draws."""
        raise RuntimeError("this sampler draws parts of a PartsSampler")
