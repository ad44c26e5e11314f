"""SMAC3 (Lindauer et al., JMLR 2022) as an Optuna sampler: a random forest and expected improvement.

It is SMAC's facade for hyperparameters with its own defaults, asked and told trial by trial.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from rigsl.errors import UserError
from search.samplers.standalone import observed_parameters

#: For how many trials SMAC plans: its initial design are at most a quarter of them.
TRIALS = 100


class SMACSampler(BaseSampler):
    """Proposes what SMAC proposes, for studies with one objective and parameters that always exist.

    As for other samplers, the parameters are those of the trials so far: the first trial is random.

    Args:
        seed: of SMAC.
    """

    def __init__(self, seed: int) -> None:
        self._seed, self._random = seed, RandomSampler(seed=seed)
        self._smac: Any = None
        self._asked: dict[int, Any] = {}  #: trial number -> what SMAC has proposed for it
        self._told: set[int] = set()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters of the trials so far."""
        return observed_parameters(study)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """SMAC's next proposal, after it was told of all trials that have ended."""
        if not search_space:
            return {}
        if self._smac is None:
            self._smac = _facade(search_space, self._seed, Path(self._folder.name))
        sign = -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
        for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if other.number not in self._told:
                self._told.add(other.number)
                self._tell(other, sign * other.values[0])
        proposed = self._asked[trial.number] = self._smac.ask()
        return {
            name: _plain(proposed.config[name], distribution) for name, distribution in search_space.items()
        }

    def _tell(self, trial: FrozenTrial, cost: float) -> None:
        from ConfigSpace import Configuration
        from smac.runhistory import TrialInfo, TrialValue

        info = self._asked.get(trial.number)
        if info is None:
            configuration = Configuration(self._smac.scenario.configspace, values=dict(trial.params))
            info = TrialInfo(configuration, seed=0)
        self._smac.tell(info, TrialValue(cost), save=False)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of a parameter that is not proposed."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def _facade(search_space: Mapping[str, BaseDistribution], seed: int, folder: Path) -> Any:
    """SMAC's facade for hyperparameters, which evaluates every configuration once."""
    try:
        import smac
    except ImportError:
        raise UserError("the sampler SMAC3 needs smac: pip install smac") from None
    from ConfigSpace import ConfigurationSpace

    space = ConfigurationSpace(seed=seed)
    space.add([_parameter(name, distribution) for name, distribution in search_space.items()])
    scenario = smac.Scenario(
        space, deterministic=True, n_trials=TRIALS, seed=seed, output_directory=folder, name="study"
    )

    def never_called(config: Any, seed: int = 0) -> float:
        raise RuntimeError("SMAC is asked and told, it runs nothing itself")

    facade = smac.HyperparameterOptimizationFacade
    return facade(scenario, never_called, overwrite=True, logging_level=False)


def _parameter(name: str, distribution: BaseDistribution) -> Any:
    from ConfigSpace import (
        CategoricalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    if isinstance(distribution, CategoricalDistribution):
        return CategoricalHyperparameter(name, list(distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = (
        UniformIntegerHyperparameter
        if isinstance(distribution, IntDistribution)
        else UniformFloatHyperparameter
    )
    return kind(name, distribution.low, distribution.high, log=distribution.log)


def _plain(value: Any, distribution: BaseDistribution) -> Any:
    """A value of ConfigSpace as one of Python."""
    if isinstance(distribution, CategoricalDistribution):
        return next(choice for choice in distribution.choices if choice == value)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)
