"""Encode configurations as unit-cube vectors for the surrogate model, and decode them again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
#: Parameter -> an earlier parameter -> its values with which the first one exists.
Conditions = Mapping[str, Mapping[str, Sequence[Any]]]
#: The mean number of parameters in which a neighbour differs from its centre; at least one always differs.
MEAN_CHANGES = 3


class UnitRange:
    """A range of numbers, linear or logarithmic, scaled to the interval from 0 to 1.

    Each value of an integer or stepped range is the centre of a cell; the cells fill the interval.
    """

    def __init__(self, distribution: BaseDistribution) -> None:
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        self._distribution = distribution
        self._step = distribution.step or 0
        self.is_continuous = not self._step
        self._is_int = isinstance(distribution, IntDistribution)
        half = self._step / 2
        low, high = distribution.low - half, distribution.high + half
        self._low, self._high = (math.log(low), math.log(high)) if distribution.log else (low, high)

    def encode(self, values: Sequence[float] | Floats) -> Floats:
        """Values -> their positions in the interval. [n]"""
        numbers = np.asarray(values, dtype=np.float64)
        scaled = np.log(numbers) if self._distribution.log else numbers
        return np.asarray((scaled - self._low) / (self._high - self._low))

    def _unscaled(self, positions: Floats) -> Floats:
        scaled = self._low + positions * (self._high - self._low)
        return np.asarray(np.exp(scaled) if self._distribution.log else scaled)

    def snap(self, positions: Floats) -> Floats:
        """The positions of the valid values nearest to `positions`. [n]"""
        if not self._step:
            return positions
        low, high = self._distribution.low, self._distribution.high
        steps = np.round((self._unscaled(positions) - low) / self._step)
        values = low + self._step * steps
        return self.encode(np.minimum(np.maximum(values, low), high))

    def decode(self, position: float) -> float | int:
        """A position -> the valid value nearest to it."""
        low, high = self._distribution.low, self._distribution.high
        value = float(np.clip(self._unscaled(np.array([position]))[0], low, high))
        if self._step:
            steps = round((value - low) / self._step)
            value = min(low + self._step * steps, high)
        return round(value) if self._is_int else float(value)


class _ParameterEncoder(Protocol):
    """Encodes one parameter as one or more columns."""

    width: int  #: number of columns
    is_continuous: bool  #: whether all values from 0 to 1 are valid

    def contains(self, value: Any) -> bool:
        """Whether the value can be encoded."""

    def encode(self, values: Sequence[Any]) -> Floats:
        """Values -> columns. [n, width]"""

    def imputed(self) -> Floats:
        """The columns of a configuration in which the parameter does not exist. [width]"""

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """Random valid columns. [count, width]"""

    def neighbours(self, rng: np.random.Generator, columns: Floats, distance: float) -> Floats:
        """Random valid columns near `columns`, `distance` being the standard deviation. [n, width]"""

    def decode(self, columns: Floats) -> Any:
        """Columns -> value. [width]"""


class _NumberEncoder:
    width = 1

    def __init__(self, distribution: BaseDistribution) -> None:
        self._range = UnitRange(distribution)
        self.is_continuous = self._range.is_continuous

    def contains(self, value: Any) -> bool:
        return True

    def encode(self, values: Sequence[Any]) -> Floats:
        return np.clip(self._range.encode(values), 0.0, 1.0)[:, None]

    def imputed(self) -> Floats:
        return np.full(1, 0.5)

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        return self._range.snap(rng.random(count))[:, None]

    def neighbours(self, rng: np.random.Generator, columns: Floats, distance: float) -> Floats:
        """Normally distributed around `columns`, reflected at 0 and 1."""
        moved = np.abs(columns[:, 0] + distance * rng.standard_normal(len(columns)))
        reflected = np.maximum(1.0 - np.abs(1.0 - moved), 0.0)
        return self._range.snap(reflected)[:, None]

    def decode(self, columns: Floats) -> Any:
        return self._range.decode(float(columns[0]))


class _OrdinalEncoder:
    """A choice among numbers: their rank, evenly spaced from 0 to 1."""

    width, is_continuous = 1, False

    def __init__(self, choices: Sequence[Any]) -> None:
        self._choices = sorted(choices)

    def contains(self, value: Any) -> bool:
        return value in self._choices

    def encode(self, values: Sequence[Any]) -> Floats:
        ranks = np.array([self._choices.index(value) for value in values], dtype=np.float64)
        return (ranks / (len(self._choices) - 1))[:, None]

    def imputed(self) -> Floats:
        return np.full(1, 0.5)

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        return (rng.integers(len(self._choices), size=count) / (len(self._choices) - 1))[:, None]

    def neighbours(self, rng: np.random.Generator, columns: Floats, distance: float) -> Floats:
        return self.sample(rng, len(columns))

    def decode(self, columns: Floats) -> Any:
        return self._choices[round(float(columns[0]) * (len(self._choices) - 1))]


class _OneHotEncoder:
    """Any other choice: one-hot, scaled so that any two choices are at distance 1."""

    is_continuous = False

    def __init__(self, choices: Sequence[Any]) -> None:
        self._choices, self.width = list(choices), len(choices)
        self._one_hot = math.sqrt(0.5) * np.eye(self.width)

    def contains(self, value: Any) -> bool:
        return value in self._choices

    def encode(self, values: Sequence[Any]) -> Floats:
        return self._one_hot[[self._choices.index(value) for value in values]]

    def imputed(self) -> Floats:
        return np.asarray(self._one_hot.mean(axis=0))

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        return self._one_hot[rng.integers(self.width, size=count)]

    def neighbours(self, rng: np.random.Generator, columns: Floats, distance: float) -> Floats:
        return self.sample(rng, len(columns))

    def decode(self, columns: Floats) -> Any:
        return self._choices[int(np.argmax(columns))]


def _parameter_encoder(distribution: BaseDistribution) -> _ParameterEncoder:
    if not isinstance(distribution, CategoricalDistribution):
        return _NumberEncoder(distribution)
    choices = distribution.choices
    are_numbers = all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in choices)
    return _OrdinalEncoder(choices) if are_numbers else _OneHotEncoder(choices)


class _Condition(NamedTuple):
    """Parameter `name` exists where parameter `needs` exists and has one of the `allowed` values."""

    name: str
    needs: str
    allowed: Floats  #: encoded, [values, width]


class Encoder:
    """Encodes the configurations of a space as rows of numbers from 0 to 1.

    A number is scaled to its range, and a choice among numbers is its rank: one column each. Any other choice
    is one-hot. A parameter that does not exist in a configuration is imputed by the middle of its columns;
    the model learns that it does not exist from the choice that its condition names.

    Args:
        distributions: of the parameters; each has at least two values.
        conditions: of the parameters that do not always exist.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], conditions: Conditions) -> None:
        self._encoders = {name: _parameter_encoder(entry) for name, entry in distributions.items()}
        widths = [encoder.width for encoder in self._encoders.values()]
        ends = np.cumsum(widths).tolist()
        starts = [end - width for end, width in zip(ends, widths, strict=True)]
        #: The columns of each parameter.
        self.columns: Mapping[str, slice] = dict(zip(self._encoders, map(slice, starts, ends), strict=True))
        #: The index of the parameter that each column belongs to. [columns]
        self.column_parameter: Indices = np.repeat(np.arange(len(widths)), widths)
        #: Whether a column is that of a number without steps. [columns]
        self.continuous: NDArray[np.bool_] = np.repeat(
            [encoder.is_continuous for encoder in self._encoders.values()], widths
        )
        self._conditions = [
            _Condition(name, needs, self._encoders[needs].encode(values))
            for name, when in conditions.items()
            for needs, values in when.items()
            if name in self._encoders and needs in self._encoders
        ]

    def __len__(self) -> int:
        """The number of parameters."""
        return len(self._encoders)

    def _by_parameter(self) -> Iterable[tuple[str, _ParameterEncoder, slice]]:
        for name, encoder in self._encoders.items():
            yield name, encoder, self.columns[name]

    def encode(self, configurations: Sequence[Mapping[str, Any]]) -> Floats:
        """Configurations -> vectors. [n, columns]"""
        vectors = np.empty((len(configurations), len(self.column_parameter)))
        for name, encoder, columns in self._by_parameter():
            vectors[:, columns] = encoder.imputed()
            rows = [
                row
                for row, params in enumerate(configurations)
                if name in params and encoder.contains(params[name])
            ]
            if rows:
                vectors[rows, columns] = encoder.encode([configurations[row][name] for row in rows])
        return vectors

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """Vectors of random configurations. [count, columns]"""
        return self.impute(
            np.concatenate([encoder.sample(rng, count) for encoder in self._encoders.values()], axis=1)
        )

    def neighbours(self, rng: np.random.Generator, centres: Floats, count: int, distance: float) -> Floats:
        """`count` neighbours of each centre: some parameters differ, numbers by about `distance`.

        Shapes: [n, columns] -> [n count, columns]
        """
        vectors = np.repeat(centres, count, axis=0)
        changed = rng.random((len(vectors), len(self))) < MEAN_CHANGES / len(self)
        changed[np.arange(len(vectors)), rng.integers(len(self), size=len(vectors))] = True
        for index, (_, encoder, columns) in enumerate(self._by_parameter()):
            rows = np.flatnonzero(changed[:, index])
            vectors[rows, columns] = encoder.neighbours(rng, vectors[rows, columns], distance)
        return self.impute(vectors)

    def exists(self, vectors: Floats) -> dict[str, NDArray[np.bool_]]:
        """Parameter -> in which configurations it exists. [n, columns] -> [n]"""
        exists = {name: np.ones(len(vectors), dtype=np.bool_) for name in self._encoders}
        for (
            name,
            needs,
            allowed,
        ) in self._conditions:  # `needs` stands before `name`, and so do its conditions
            apart = np.abs(vectors[:, None, self.columns[needs]] - allowed).max(axis=2)  # [n, values]
            exists[name] &= (apart < 1e-6).any(axis=1) & exists[needs]
        return exists

    def impute(self, vectors: Floats) -> Floats:
        """Impute the parameters that do not exist, in place."""
        exists = self.exists(vectors)
        for name in {condition.name for condition in self._conditions}:
            vectors[~exists[name], self.columns[name]] = self._encoders[name].imputed()
        return vectors

    def with_continuous(self, vector: Floats, values: Floats) -> Floats:
        """A vector whose continuous columns have other `values`. [columns], [k] -> [columns]"""
        changed = vector.copy()
        changed[self.continuous] = values
        return np.asarray(self.impute(changed[None])[0])

    def decode(self, vector: Floats) -> dict[str, Any]:
        """A vector -> its configuration, with a value for every parameter. [columns]"""
        return {name: encoder.decode(vector[columns]) for name, encoder, columns in self._by_parameter()}
