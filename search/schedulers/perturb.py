"""How a child's hyperparameters differ from its parent's: explore (Jaderberg et al., 2017, section 4.1.1).

Each hyperparameter that may change during a training is resampled with a probability of a quarter, else
perturbed: a number by a factor of 0.8 or 1.25, a choice to one of its neighbours in the list. A
hyperparameter on which the weights' shapes or their meaning depend is inherited.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rigsl.training.trainer import CONTINUABLE
from search.space.parameter import Parameter
from search.space.space import Space

RESAMPLE_PROBABILITY = 0.25
FACTORS = (0.8, 1.25)


def explorable(space: Space) -> list[str]:
    """The parameters of `space` in which a child can differ from its parent."""
    return [name for name in space.parameters if name in CONTINUABLE]


def explore(space: Space, params: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A child's parameters, all inside `space` and its conditions, given those of its parent.

    A parameter that the parent did not have, because its condition was not met, is sampled.
    """
    child: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if not parameter.active(child):
            continue
        if name not in params:
            child[name] = sample(parameter, rng)
        elif name not in CONTINUABLE:
            child[name] = params[name]
        elif rng.random() < RESAMPLE_PROBABILITY:
            child[name] = sample(parameter, rng)
        else:
            child[name] = perturb(parameter, params[name], rng)
    return child


def sample(parameter: Parameter, rng: np.random.Generator) -> Any:
    """A random value of `parameter`, uniform on its own scale, linear or logarithmic."""
    if parameter.kind == "choice":
        return parameter.values[rng.integers(len(parameter.values))]
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        return parameter.clip(math.exp(rng.uniform(math.log(low), math.log(high))))
    if parameter.kind == "int" or parameter.step:
        step = parameter.step or 1
        return parameter.clip(low + step * rng.integers(round((high - low) / step) + 1))
    return parameter.clip(rng.uniform(low, high))


def perturb(parameter: Parameter, value: Any, rng: np.random.Generator) -> Any:
    """A value near `value`; the same one only at the end of the range, or where it is zero."""
    up = bool(rng.integers(2))
    if parameter.kind == "choice":
        index = parameter.values.index(value) + (1 if up else -1)
        return parameter.values[min(max(index, 0), len(parameter.values) - 1)]
    perturbed = parameter.clip(value * FACTORS[up])
    step = parameter.step or (1 if parameter.kind == "int" else 0)
    if perturbed == value and step:  # the factor changes it by less than half a step
        perturbed = parameter.clip(value + (step if up else -step))
    return perturbed
