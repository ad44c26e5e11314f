"""How a child's hyperparameters differ from its parent's (Jaderberg et al., 2017, section 4.1.1).

Each hyperparameter that may change in the course of a training is drawn anew with a probability of a quarter,
else perturbed: a number by a factor of 0.8 or 1.25, a choice to one of its neighbours in the list. What the
weights' shapes or their meaning depend on is inherited.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rigsl.training.trainer import CONTINUABLE
from search.space.parameter import Parameter
from search.space.space import Space

RESAMPLED = 0.25
FACTORS = (0.8, 1.25)


def explored(space: Space) -> list[str]:
    """The parameters of `space` that a child can have other values of."""
    return [name for name in space.parameters if name in CONTINUABLE]


def explore(space: Space, params: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A child's parameters, all inside `space` and its conditions, given those of its parent.

    A parameter that the parent did not have, as its condition was not met, is drawn.
    """
    child: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if not parameter.active(child):
            continue
        if name not in params:
            child[name] = draw(parameter, rng)
        elif name not in CONTINUABLE:
            child[name] = params[name]
        elif rng.random() < RESAMPLED:
            child[name] = draw(parameter, rng)
        else:
            child[name] = perturb(parameter, params[name], rng)
    return child


def draw(parameter: Parameter, rng: np.random.Generator) -> Any:
    """Any value of `parameter`, each equally likely (on its own scale)."""
    if parameter.kind == "choice":
        return parameter.values[rng.integers(len(parameter.values))]
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        return _fitted(parameter, math.exp(rng.uniform(math.log(low), math.log(high))))
    if parameter.kind == "int" or parameter.step:
        step = parameter.step or 1
        return _fitted(parameter, low + step * rng.integers(round((high - low) / step) + 1))
    return _fitted(parameter, rng.uniform(low, high))


def perturb(parameter: Parameter, value: Any, rng: np.random.Generator) -> Any:
    """A value near `value`; the same one only at the end of the range, or where it is zero."""
    up = bool(rng.integers(2))
    if parameter.kind == "choice":
        place = parameter.values.index(value) + (1 if up else -1)
        return parameter.values[min(max(place, 0), len(parameter.values) - 1)]
    near = _fitted(parameter, value * FACTORS[up])
    step = parameter.step or (1 if parameter.kind == "int" else 0)
    if near == value and step:  # the factor is less than a step
        near = _fitted(parameter, value + (step if up else -step))
    return near


def _fitted(parameter: Parameter, value: float) -> Any:
    """The value of a range that is nearest to `value`."""
    low, high = parameter.low, parameter.high
    value = min(max(value, low), high)
    if parameter.step:
        value = low + parameter.step * round((value - low) / parameter.step)
    return round(value) if parameter.kind == "int" else min(float(value), float(high))
