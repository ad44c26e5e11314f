"""qmc: quasi-random proposals, a scrambled Sobol sequence with one dimension for each parameter.

Optuna's QMCSampler spends a dimension on every choice of a parameter and takes the choice whose number is the
largest, which loses the sequence's evenness. Here a choice is an interval of its parameter's dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from search.samplers.parameter_groups import distributions
from search.space.space import Space


def make_qmc(space: Space, seed: int, number: int) -> QuasiRandomSampler:
    """qmc over all parameters. Its seed is the study's: all trials take points of one sequence."""
    return QuasiRandomSampler(distributions(space), seed)


class QuasiRandomSampler(BaseSampler):
    """Proposes point n of the sequence for trial n; its scrambling (Owen, 1995) follows from the seed."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        self._distributions, self._seed = dict(distributions), seed
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters; values of those that do not exist in `trial` are proposed and not used."""
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of the trial's point."""
        return next(sobol_points(search_space, self._seed, trial.number))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of a parameter that is not in the space."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def sobol_points(
    distributions: Mapping[str, BaseDistribution], seed: int, start: int = 0
) -> Iterator[dict[str, Any]]:
    """The points of the sequence from `start` on, as values of the parameters."""
    for shares in sobol_shares(len(distributions), seed, start):
        yield {
            name: at_quantile(entry, share)
            for (name, entry), share in zip(distributions.items(), shares, strict=True)
        }


def sobol_shares(dimensions: int, seed: int, start: int = 0) -> Iterator[list[float]]:
    """The points of the sequence from `start` on, as numbers from 0 to below 1."""
    if not dimensions:
        while True:
            yield []
    from scipy.stats.qmc import Sobol  # only where it is used: a search starts fast

    sequence = Sobol(dimensions, scramble=True, rng=seed)
    if start:
        sequence.fast_forward(start)
    while True:
        yield sequence.random(1)[0].tolist()


def at_quantile(distribution: BaseDistribution, share: float) -> Any:
    """The value of a distribution at the quantile `share`, from 0 to below 1."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(share * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None and not distribution.log:
        count = math.floor((high - low) / step + 1e-9) + 1
        return low + step * int(share * count)
    if isinstance(distribution, IntDistribution):  # logarithmic: an int is as likely as its interval is wide
        return min(int(_between(low, high + 1, share, log=True)), high)
    return min(_between(low, high, share, distribution.log), high)


def _between(low: float, high: float, share: float, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return low + share * (high - low)
