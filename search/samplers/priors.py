"""Priors of parameters as densities of encoded configurations, and proposals drawn from them.

A density is relative to that without a prior: 1 is as likely as by chance, and so is a parameter that does
not exist in a configuration. A number's is a normal density, cut off at the ends of its range, linear or
logarithmic; of a choice, one value is likelier than the others. Widths and weights are those of NePS.

What is believed can be wrong. So a share of each density is uniform, and a density counts less the more the
scores contradict it: piBO's own decay needs many trials to forget a wrong prior.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from rigsl.errors import UserError
from search.samplers.encoding import Conditions, Encoder, Floats, UnitRange
from search.samplers.factory import trial_seed
from search.samplers.grouped import Group, GroupedSampler, RelativeSampler
from search.samplers.parameter_groups import Distributions, conditions, distributions
from search.samplers.parameter_groups import priors as priors_of
from search.space.prior import Prior
from search.space.space import Space

#: Standard deviation of a number's density, as a share of its range; how many times as likely as another one
#: the value of a choice is.
DEVIATIONS = {"low": 0.5, "medium": 0.25, "high": 0.125}
WEIGHTS = {"low": 2.0, "medium": 4.0, "high": 6.0}
#: The share of a density that is uniform.
UNIFORM_SHARE = 0.1
#: The rank correlation of density and scores at which a density counts nothing.
CONTRADICTION = -0.5
#: Every second of the first proposals is drawn from the priors.
EVERY = 2


class _Density(Protocol):
    """What is believed about one parameter."""

    def __call__(self, columns: Floats) -> Floats:
        """The density, relative to that without a prior. [n, width] -> [n]"""

    def slope(self, columns: Floats) -> Floats:
        """The derivative of the density by a column. [n, width] -> [n, width]"""

    def at(self, shares: Floats) -> Floats:
        """The valid columns at quantiles of the density without its uniform share. [n] -> [n, width]"""


class _NumberDensity:
    def __init__(self, entry: BaseDistribution, prior: Prior) -> None:
        from scipy.special import ndtr

        self._range = UnitRange(entry)
        self._centre = float(self._range.encode([prior.value])[0])
        self._deviation = DEVIATIONS[prior.confidence]
        self._below, below_end = ndtr((np.array([0.0, 1.0]) - self._centre) / self._deviation)
        self._inside = below_end - self._below

    def __call__(self, columns: Floats) -> Floats:
        z = (columns[:, 0] - self._centre) / self._deviation
        return np.asarray(np.exp(-(z**2) / 2) / (math.sqrt(2 * math.pi) * self._deviation * self._inside))

    def slope(self, columns: Floats) -> Floats:
        return -(columns - self._centre) / self._deviation**2 * self(columns)[:, None]

    def at(self, shares: Floats) -> Floats:
        from scipy.special import ndtri

        positions = self._centre + self._deviation * ndtri(self._below + shares * self._inside)
        return self._range.snap(np.clip(positions, 0.0, 1.0))[:, None]


class _ChoiceDensity:
    def __init__(self, values: Floats, index: int, prior: Prior) -> None:
        weights = np.ones(len(values))
        weights[index] = WEIGHTS[prior.confidence]
        self._values, self._densities = values, weights / weights.mean()  # values: encoded, [values, width]

    def __call__(self, columns: Floats) -> Floats:
        apart = np.abs(columns[:, None] - self._values).max(axis=2)  # [n, values]
        return np.asarray(self._densities[apart.argmin(axis=1)])

    def slope(self, columns: Floats) -> Floats:
        return np.zeros_like(columns)

    def at(self, shares: Floats) -> Floats:
        ends = np.cumsum(self._densities) / len(self._densities)
        index = np.searchsorted(ends, shares, side="right")
        return np.asarray(self._values[np.minimum(index, len(ends) - 1)])


class PriorDensity:
    """The density of configurations by the priors of some of their parameters.

    Args:
        encoder: of the configurations.
        space: the distributions that the encoder encodes.
        priors: of some parameters; those of parameters that `space` does not have count nothing.

    Raises:
        UserError: the value of a prior is none that its parameter can take.
    """

    def __init__(self, encoder: Encoder, space: Distributions, priors: Mapping[str, Prior]) -> None:
        self._encoder = encoder
        self.power = 1.0  #: to which the density counts
        self._densities: dict[str, _Density] = {
            name: _density(name, space[name], priors[name], encoder) for name in space if name in priors
        }

    def __bool__(self) -> bool:
        """Whether any parameter has a prior."""
        return bool(self._densities)

    def log(self, vectors: Floats) -> Floats:
        """The logarithm of the density to its power. [n, columns] -> [n]"""
        found = np.zeros(len(vectors))
        exists = self._encoder.exists(vectors)
        for name, density in self._densities.items():
            believed = density(vectors[:, self._encoder.columns[name]])
            found += np.where(exists[name], np.log((1 - UNIFORM_SHARE) * believed + UNIFORM_SHARE), 0.0)
        return self.power * found

    def log_gradient(self, vector: Floats) -> Floats:
        """The gradient of `log`. [columns] -> [columns]"""
        gradient, exists = np.zeros(len(vector)), self._encoder.exists(vector[None])
        for name, density in self._densities.items():
            columns = self._encoder.columns[name]
            part = vector[None, columns]
            if exists[name][0]:
                mixed = (1 - UNIFORM_SHARE) * density(part) + UNIFORM_SHARE
                gradient[columns] = (1 - UNIFORM_SHARE) * density.slope(part)[0] / mixed
        return self.power * gradient

    def to_power(self, power: float) -> PriorDensity:
        """The density to this power."""
        other = copy.copy(self)
        other.power = power
        return other

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """Vectors of configurations drawn from the priors; random where there is none. [count, columns]"""
        shares = {name: rng.random(count) for name in self._densities}
        return self._replaced(self._encoder.sample(rng, count), shares)

    def at(self, params: Mapping[str, Any], shares: Mapping[str, float]) -> dict[str, Any]:
        """`params`, but the value at a quantile of its density for every parameter with a prior."""
        vectors = self._encoder.encode([params])
        found = self._replaced(vectors, {name: np.array([shares[name]]) for name in self._densities})
        values = self._encoder.decode(found[0])
        return {**params, **{name: values[name] for name in self._densities}}

    def _replaced(self, vectors: Floats, shares: Mapping[str, Floats]) -> Floats:
        for name, density in self._densities.items():
            vectors[:, self._encoder.columns[name]] = density.at(shares[name])
        return self._encoder.impute(vectors)


def _density(name: str, entry: BaseDistribution, prior: Prior, encoder: Encoder) -> _Density:
    value = prior.value
    if isinstance(entry, CategoricalDistribution):
        same = [value == choice and type(value) is type(choice) for choice in entry.choices]
        if not any(same):
            raise UserError(f"prior of {name}: {value!r} is not one of {', '.join(map(repr, entry.choices))}")
        values = encoder.encode([{name: choice} for choice in entry.choices])
        return _ChoiceDensity(values[:, encoder.columns[name]], same.index(True), prior)
    assert isinstance(entry, FloatDistribution | IntDistribution)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not entry.low <= value <= entry.high:
        raise UserError(f"prior of {name}: {value!r} is not a number from {entry.low:g} to {entry.high:g}")
    return _NumberDensity(entry, prior)


def agreement(log_density: Floats, scores: Floats) -> float:
    """From 1, scores that do not contradict a density, down to 0: they do. [n], [n]

    It falls from 1 at a rank correlation of 0 to 0 at CONTRADICTION.
    """
    from scipy.stats import rankdata

    if np.ptp(log_density) == 0 or np.ptp(scores) == 0:
        return 1.0
    correlation = np.corrcoef(rankdata(log_density), rankdata(scores))[0, 1]
    return float(np.clip(1 - correlation / CONTRADICTION, 0.0, 1.0))


class PriorSampler(RelativeSampler):
    """Draws from the priors; parameters without one are random.

    Args:
        seed: of its draws.
        conditions: of the parameters that do not always exist.
        priors: of some of the parameters.
    """

    def __init__(self, seed: int, conditions: Conditions, priors: Mapping[str, Prior]) -> None:
        self._rng, self._conditions, self._priors = np.random.default_rng(seed), conditions, priors

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every parameter of `search_space`."""
        encoder = Encoder(search_space, self._conditions)
        density = PriorDensity(encoder, search_space, self._priors)
        return encoder.decode(density.sample(self._rng, 1)[0])


def make_prior(space: Space, seed: int, number: int) -> GroupedSampler:
    """A draw from the priors of all parameters."""
    own_seed = trial_seed(seed, number)
    sampler = PriorSampler(own_seed, conditions(space), priors_of(space))
    return GroupedSampler([Group(distributions(space), lambda study: sampler)], own_seed)


def is_drawn(number: int) -> bool:
    """Whether, of the first proposals, that of trial `number` is drawn from the priors."""
    return number % EVERY == 0
