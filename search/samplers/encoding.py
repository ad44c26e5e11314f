"""Configurations as places in a cube, for models of a whole space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Conditions = Mapping[str, Mapping[str, Sequence[Any]]]
#: Parameters that a neighbour of a configuration differs in, in the mean (and one at least).
CHANGED = 3


class Range:
    """A range of numbers as the interval from 0 to 1; whole numbers and steps have an interval each."""

    def __init__(self, distribution: BaseDistribution) -> None:
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        self._one = distribution
        self._step = distribution.step or 0
        self._whole = isinstance(distribution, IntDistribution)
        half = self._step / 2
        low, high = distribution.low - half, distribution.high + half
        self._low, self._high = (math.log(low), math.log(high)) if distribution.log else (low, high)

    def place(self, values: Sequence[float] | Floats) -> Floats:
        """Values -> places. [n]"""
        given = np.asarray(values, dtype=np.float64)
        scaled = np.log(given) if self._one.log else given
        return np.asarray((scaled - self._low) / (self._high - self._low))

    def _values(self, places: Floats) -> Floats:
        given = self._low + places * (self._high - self._low)
        return np.asarray(np.exp(given) if self._one.log else given)

    def settle(self, places: Floats) -> Floats:
        """The places of the values nearest to `places`."""
        if not self._step:
            return places
        steps = np.round((self._values(places) - self._one.low) / self._step)
        values = self._one.low + self._step * steps
        return self.place(np.minimum(np.maximum(values, self._one.low), self._one.high))

    def width(self, places: Floats) -> Floats | None:
        """The interval's bounds that belong to each place, [2, n]; None: a point each."""
        if not self._step:
            return None
        values, half = self._values(places), self._step / 2
        return np.stack([self.place(values - half), self.place(values + half)])

    def value(self, place: float) -> float | int:
        """A place -> its value."""
        value = float(np.clip(self._values(np.array([place]))[0], self._one.low, self._one.high))
        if self._step:
            steps = round((value - self._one.low) / self._step)
            value = min(self._one.low + self._step * steps, self._one.high)
        return round(value) if self._whole else float(value)


class _Axis(Protocol):
    """The columns of one parameter."""

    width: int

    def has(self, value: Any) -> bool:
        """Whether the value has a place."""

    def places(self, values: Sequence[Any]) -> Floats:
        """Values -> places. [n, width]"""

    def nowhere(self) -> Floats:
        """The place of a configuration in which the parameter does not exist. [width]"""

    def draw(self, chance: np.random.Generator, count: int) -> Floats:
        """Random places. [count, width]"""

    def near(self, chance: np.random.Generator, places: Floats, distance: float) -> Floats:
        """Random places about `distance` (the standard deviation) from `places`. [n, width]"""

    def value(self, place: Floats) -> Any:
        """The value at a place. [width]"""


class _Number:
    width = 1

    def __init__(self, distribution: BaseDistribution) -> None:
        self._range = Range(distribution)

    def has(self, value: Any) -> bool:
        return True

    def places(self, values: Sequence[Any]) -> Floats:
        return np.clip(self._range.place(values), 0.0, 1.0)[:, None]

    def nowhere(self) -> Floats:
        return np.full(1, 0.5)

    def draw(self, chance: np.random.Generator, count: int) -> Floats:
        return self._range.settle(chance.random(count))[:, None]

    def near(self, chance: np.random.Generator, places: Floats, distance: float) -> Floats:
        moved = np.abs(places[:, 0] + distance * chance.standard_normal(len(places)))
        mirrored = np.maximum(1.0 - np.abs(1.0 - moved), 0.0)
        return self._range.settle(mirrored)[:, None]

    def value(self, place: Floats) -> Any:
        return self._range.value(float(place[0]))


class _Ordered:
    """A choice among numbers: their order, evenly from 0 to 1."""

    width = 1

    def __init__(self, choices: Sequence[Any]) -> None:
        self._choices = sorted(choices)

    def has(self, value: Any) -> bool:
        return value in self._choices

    def places(self, values: Sequence[Any]) -> Floats:
        found = np.array([self._choices.index(value) for value in values], dtype=np.float64)
        return (found / (len(self._choices) - 1))[:, None]

    def nowhere(self) -> Floats:
        return np.full(1, 0.5)

    def draw(self, chance: np.random.Generator, count: int) -> Floats:
        return (chance.integers(len(self._choices), size=count) / (len(self._choices) - 1))[:, None]

    def near(self, chance: np.random.Generator, places: Floats, distance: float) -> Floats:
        return self.draw(chance, len(places))

    def value(self, place: Floats) -> Any:
        return self._choices[round(float(place[0]) * (len(self._choices) - 1))]


class _Corners:
    """Any other choice: a corner each, all at distance 1 from each other."""

    def __init__(self, choices: Sequence[Any]) -> None:
        self._choices, self.width = list(choices), len(choices)
        self._corners = math.sqrt(0.5) * np.eye(self.width)

    def has(self, value: Any) -> bool:
        return value in self._choices

    def places(self, values: Sequence[Any]) -> Floats:
        return self._corners[[self._choices.index(value) for value in values]]

    def nowhere(self) -> Floats:
        return np.asarray(self._corners.mean(axis=0))

    def draw(self, chance: np.random.Generator, count: int) -> Floats:
        return self._corners[chance.integers(self.width, size=count)]

    def near(self, chance: np.random.Generator, places: Floats, distance: float) -> Floats:
        return self.draw(chance, len(places))

    def value(self, place: Floats) -> Any:
        return self._choices[int(np.argmax(place))]


def _axis(distribution: BaseDistribution) -> _Axis:
    if not isinstance(distribution, CategoricalDistribution):
        return _Number(distribution)
    choices = distribution.choices
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in choices)
    return _Ordered(choices) if numbers else _Corners(choices)


class _Condition(NamedTuple):
    """That parameter `name` exists where `other` does, and has one of the places `allowed`."""

    name: str
    other: str
    allowed: Floats  #: [values, width]


class Places:
    """The configurations of a space as rows of numbers.

    A number is at its place in its range, from 0 to 1, choices among numbers by their order; any other choice
    has a corner of its own. A parameter that does not exist in a configuration is in the middle: that it does
    not is told by the choice that its condition names.

    Args:
        distributions: the parameters; each can have two values at least.
        conditions: parameter -> an earlier parameter -> its values with which the first one exists.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], conditions: Conditions) -> None:
        self._axes = {name: _axis(one) for name, one in distributions.items()}
        widths = [axis.width for axis in self._axes.values()]
        ends = np.cumsum(widths).tolist()
        self._columns = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]
        #: The parameter that each column belongs to. [columns]
        self.parameter: Indices = np.repeat(np.arange(len(widths)), widths)
        self._conditions = [
            _Condition(name, other, self._axes[other].places(values))
            for name, when in conditions.items()
            for other, values in when.items()
            if name in self._axes and other in self._axes
        ]

    def __len__(self) -> int:
        """How many parameters there are."""
        return len(self._axes)

    def _by_axis(self) -> Iterable[tuple[str, _Axis, slice]]:
        for (name, axis), columns in zip(self._axes.items(), self._columns, strict=True):
            yield name, axis, columns

    def of(self, configurations: Sequence[Mapping[str, Any]]) -> Floats:
        """Places of configurations. [n, columns]"""
        found = np.empty((len(configurations), len(self.parameter)))
        for name, axis, columns in self._by_axis():
            found[:, columns] = axis.nowhere()
            rows = [row for row, one in enumerate(configurations) if name in one and axis.has(one[name])]
            if rows:
                found[rows, columns] = axis.places([configurations[row][name] for row in rows])
        return found

    def draw(self, chance: np.random.Generator, count: int) -> Floats:
        """Random places. [count, columns]"""
        return self._existing(
            np.concatenate([one.draw(chance, count) for one in self._axes.values()], axis=1)
        )

    def near(self, chance: np.random.Generator, around: Floats, count: int, distance: float) -> Floats:
        """`count` neighbours of each place: some parameters differ, numbers by about `distance`.

        Shapes: [n, columns] -> [n count, columns]
        """
        found = np.repeat(around, count, axis=0)
        moved = chance.random((len(found), len(self))) < CHANGED / len(self)
        moved[np.arange(len(found)), chance.integers(len(self), size=len(found))] = True
        for number, (_, axis, columns) in enumerate(self._by_axis()):
            rows = np.flatnonzero(moved[:, number])
            found[rows, columns] = axis.near(chance, found[rows, columns], distance)
        return self._existing(found)

    def _existing(self, places: Floats) -> Floats:
        """The places with what does not exist in them where it belongs; changed in place."""
        columns = dict(zip(self._axes, self._columns, strict=True))
        exists = {name: np.ones(len(places), dtype=np.bool_) for name in self._axes}
        for name, other, allowed in self._conditions:  # of a parameter after those of what it needs
            apart = np.abs(places[:, None, columns[other]] - allowed).max(axis=2)  # [n, values]
            exists[name] &= (apart < 1e-6).any(axis=1) & exists[other]
        for name in {condition.name for condition in self._conditions}:
            places[~exists[name], columns[name]] = self._axes[name].nowhere()
        return places

    def values(self, place: Floats) -> dict[str, Any]:
        """The configuration at a place. [columns]"""
        return {name: axis.value(place[columns]) for name, axis, columns in self._by_axis()}
