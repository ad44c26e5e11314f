"""Functions of COCO (Hansen et al., 2021), from the package coco-experiment.

Integer variables of bbob-mixint are integers for the sampler, too. The noise of bbob-noisy is one sequence
for the whole process, which begins anew whenever a suite is made: a study's noise follows from its seed, as
long as regrets are asked for after the study. Its functions have no public noise-free value; here it is the
median of many evaluations. In most models of the noise this is the value itself, in the others it grows with
it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from benchmarks.optimisers.problems import FIRST_INSTANCE, Objective, Problem
from rigsl.errors import UserError

NOISY = "bbob-noisy"
#: Evaluations whose median is the noise-free value.
EVALUATIONS = 301
#: Evaluations by which the noise of a study begins later than that of the study with the seed before.
NOISE_OFFSET = 997


def coco_objective(problem: Problem, seed: int) -> Objective:
    """The instance of a function that the study with this seed has."""
    suite, function, size = problem.name.rsplit("-", 2)
    key = (suite, int(function[1:]), int(size[1:]), FIRST_INSTANCE[problem.half] + seed)
    best, optimum = _optimum(*key)
    instance = _instance(*key)  # the last one that is made before the study: its noise begins here
    low, high = instance.lower_bounds, instance.upper_bounds
    distributions: dict[str, BaseDistribution] = {}
    at: dict[str, Any] = {}
    for index in range(problem.dimension):  # COCO puts the integers first
        is_int = index < instance.number_of_integer_variables
        kind, number = (IntDistribution, int) if is_int else (FloatDistribution, float)
        distributions[f"x{index}"] = kind(number(low[index]), number(high[index]))
        at[f"x{index}"] = number(np.clip(best[index], low[index], high[index]))
    if suite == NOISY:
        for _ in range(NOISE_OFFSET * seed):
            instance(instance.initial_solution)

    def observe(params: Mapping[str, Any]) -> float:
        return float(instance(_vector(params)))

    def regret(params: Mapping[str, Any]) -> float:
        return max(_noise_free(key, _vector(params)) - optimum, 0.0)

    return Objective(distributions, observe, regret, at)


def _vector(params: Mapping[str, Any]) -> np.ndarray:
    return np.array([params[f"x{index}"] for index in range(len(params))], dtype=np.float64)


def _instance(suite: str, function: int, dimension: int, instance: int) -> Any:
    """A new problem of COCO, whose noise begins anew."""
    try:
        import cocoex
    except ImportError:
        raise UserError(
            "the benchmark of optimisers needs coco-experiment: pip install -e '.[optimisers]'"
        ) from None
    cocoex.log_level("warning")
    # `function_indices` counts within the suite; the functions of bbob-noisy are 101 to 130 elsewhere.
    options = f"dimensions: {dimension} function_indices: {function} instance_indices: {instance}"
    return cocoex.Suite(suite, "", options)[0]


def _noise_free(key: tuple[str, int, int, int], vector: np.ndarray) -> float:
    """The value without noise."""
    instance = _instance(*key)
    return float(np.median([instance(vector) for _ in range(EVALUATIONS if key[0] == NOISY else 1)]))


@cache
def _optimum(suite: str, function: int, dimension: int, instance: int) -> tuple[np.ndarray, float]:
    """Where the lowest value is, and that value. COCO writes the place into a file."""
    key = (suite, function, dimension, instance)
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            _instance(*key)._best_parameter("print")
            [path] = Path(folder).iterdir()
            vector = np.loadtxt(path)
        finally:
            os.chdir(before)
    return vector, _noise_free(key, vector)
