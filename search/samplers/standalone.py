"""Our own samplers for any Optuna study, without a search space file.

The parameters are those that the study's trials have had so far. Conditional ones are found by these trials,
too: where a choice tells which trials have a parameter. Stopped trials have their predicted scores.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from search.samplers import gp_sampler, grouped
from search.samplers.encoding import Conditions
from search.samplers.factory import trial_seed
from search.samplers.gp_sampler import GaussianProcessSampler
from search.samplers.grouped import RelativeSampler
from search.samplers.imputed_scores import ImputedScores, with_imputed_scores
from search.samplers.parameter_groups import Distributions
from search.samplers.priors import PriorSampler, is_drawn
from search.samplers.tpe import ConditionalTPESampler
from search.space.prior import Prior


class StandaloneSampler(BaseSampler):
    """Proposes all parameters that a study has shown so far, for one objective, to maximise or to minimise.

    Args:
        make: seed of a proposal, and the conditions of the parameters -> the sampler that makes it.
        seed: of the sampler; None: a random one.
        max_trials: ended trials that the sampler sees.
    """

    def __init__(
        self, make: Callable[[int, Conditions], RelativeSampler], seed: int | None, max_trials: int
    ) -> None:
        self._make, self._max_trials = make, max_trials
        self.reseed_rng()
        if seed is not None:
            self._seed, self._random = seed, RandomSampler(seed=seed)

    def reseed_rng(self) -> None:
        """Another random seed, for a copy of the sampler in another process."""
        self._seed = random_seed()
        self._random = RandomSampler(seed=self._seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Distributions:
        """The parameters of all trials so far that have more than one value, with their latest ranges."""
        return observed_parameters(study)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """A value for every parameter; none while the sampler has seen too few trials."""
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        choices = [name for name, entry in search_space.items() if isinstance(entry, CategoricalDistribution)]
        known = [other.params for other in study.get_trials(deepcopy=False)]
        conditions = observed_conditions(known, choices)
        sampler = self._make(trial_seed(self._seed, trial.number), conditions)
        seen = with_imputed_scores(_maximised(study), self._max_trials)
        return sampler.sample_relative(seen, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of a parameter that is not proposed."""
        self._raise_error_if_multi_objective(study)
        return self._random.sample_independent(study, trial, param_name, param_distribution)


class GPSampler(StandaloneSampler):
    """gp (search/samplers/gp_sampler.py) for any study.

    Args:
        seed: of the sampler; None: a random one.
        priors: what is believed about some of the parameters.
        options: of `GaussianProcessSampler`.
    """

    def __init__(
        self, seed: int | None = None, priors: Mapping[str, Prior] | None = None, **options: Any
    ) -> None:
        self._priors = dict(priors or {})
        options = {
            "design_seed": random_seed() if seed is None else seed, "priors": self._priors, **options
        }  # fmt: skip

        def make(own: int, conditions: Conditions) -> RelativeSampler:
            return GaussianProcessSampler(own, conditions=conditions, **options)

        super().__init__(make, seed, gp_sampler.MAX_TRIALS)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value of a parameter that is not proposed: random, or for every second trial from its prior."""
        if param_name not in self._priors or not is_drawn(trial.number):
            return super().sample_independent(study, trial, param_name, param_distribution)
        self._raise_error_if_multi_objective(study)
        seed = trial_seed(trial_seed(self._seed, trial.number), len(trial.params))
        sampler = PriorSampler(seed, {}, self._priors)
        return sampler.sample_relative(study, trial, {param_name: param_distribution})[param_name]


class TPESampler(StandaloneSampler):
    """tpe (search/samplers/tpe.py) for any study; `options` are those of Optuna's own."""

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        def make(own: int, conditions: Conditions) -> RelativeSampler:
            return ConditionalTPESampler(own, conditions, **options)

        super().__init__(make, seed, grouped.MAX_TRIALS)


def observed_parameters(study: optuna.Study) -> Distributions:
    """The parameters of all trials so far that have more than one value, with their latest ranges."""
    found: Distributions = {}
    for trial in study.get_trials(deepcopy=False):
        found |= trial.distributions
    return {name: entry for name, entry in found.items() if not entry.single()}


def random_seed() -> int:
    """A seed that nobody knows beforehand."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def observed_conditions(configurations: Sequence[Mapping[str, Any]], choices: Collection[str]) -> Conditions:
    """The conditions under which parameters exist, as far as a single choice tells.

    A parameter that some `configurations` lack depends on the first one of `choices` whose values tell apart
    those with it and those without it.
    """
    begun = [params for params in configurations if params]
    names = list(dict.fromkeys(name for params in begun for name in params))
    conditions: dict[str, dict[str, Sequence[Any]]] = {}
    for index, name in enumerate(names):
        having, lacking = (
            [params for params in begun if (name in params) is there] for there in (True, False)
        )
        for needs in [other for other in names[:index] if other in choices and lacking]:
            values = list(dict.fromkeys(params[needs] for params in having if needs in params))
            others = {params[needs] for params in lacking if needs in params}
            if others and values and others.isdisjoint(values) and all(needs in params for params in having):
                conditions[name] = {needs: values}
                break
    return conditions


def _maximised(study: optuna.Study) -> optuna.Study:
    """The study itself; where it minimises, a view of it with all scores negated, which maximises."""
    if study.direction != StudyDirection.MINIMIZE:
        return study
    trials = []
    for trial in study.get_trials(deepcopy=False):
        negated = copy.copy(trial)
        negated.values = None if trial.values is None else [-trial.values[0]]
        negated.intermediate_values = {step: -score for step, score in trial.intermediate_values.items()}
        trials.append(negated)
    view = ImputedScores(study, trials)
    view._directions = [StudyDirection.MAXIMIZE]  # Optuna's samplers ask for it
    return view
