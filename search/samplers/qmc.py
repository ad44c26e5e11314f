"""Quasi-random proposals: a scrambled Sobol sequence with one dimension a parameter.

Optuna's QMCSampler spends a dimension on every choice of a parameter and takes the largest, which loses the
sequence's evenness: no number of points falls evenly on the choices. Here a choice is an interval.
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


class QuasiRandomSampler(BaseSampler):
    """Trial n gets point n of the sequence; the scrambling (Owen, 1995) is that of the seed."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        self._distributions, self._seed = dict(distributions), seed
        self._rest = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters; those that do not exist in `trial` are drawn and not used."""
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of the trial's point."""
        return next(points(search_space, self._seed, trial.number))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value of what is not in the space."""
        return self._rest.sample_independent(study, trial, param_name, param_distribution)


def points(
    distributions: Mapping[str, BaseDistribution], seed: int, start: int = 0
) -> Iterator[dict[str, Any]]:
    """The points of the sequence from `start` on, as values of the parameters."""
    if not distributions:
        while True:
            yield {}
    from scipy.stats.qmc import Sobol  # only where it is used: a search starts fast

    sequence = Sobol(len(distributions), scramble=True, rng=seed)
    if start:
        sequence.fast_forward(start)
    while True:
        place = sequence.random(1)[0].tolist()
        yield {name: at(one, share) for (name, one), share in zip(distributions.items(), place, strict=True)}


def at(distribution: BaseDistribution, share: float) -> Any:
    """The value below which `share` (from 0 to below 1) of the distribution lies."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(share * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None and not distribution.log:
        places = math.floor((high - low) / step + 1e-9) + 1
        return low + step * int(share * places)
    if isinstance(distribution, IntDistribution):  # by the width of each number on the scale of logarithms
        return min(int(_between(low, high + 1, share, log=True)), high)
    return min(_between(low, high, share, distribution.log), high)


def _between(low: float, high: float, share: float, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return low + share * (high - low)
