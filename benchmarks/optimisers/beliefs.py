"""gp with priors: what a researcher believes, near the optimum of a problem or far from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from benchmarks.optimisers.problems import Objective
from search.samplers import Prior
from search.samplers.encoding import UnitRange


@dataclass(frozen=True)
class Belief:
    """A prior for every parameter of a problem."""

    good: bool  #: near the optimum; otherwise far from it
    confidence: str


#: Name in the tables -> what gp is told.
BELIEFS: Mapping[str, Belief] = {
    "gp, good prior": Belief(True, "medium"),
    "gp, wrong prior": Belief(False, "medium"),
    "gp, wrong prior, high confidence": Belief(False, "high"),
}
#: How far from the optimum good priors lie: the standard deviation of a number's, as a share of its range,
#: and how often a choice's names another value. Wrong ones are at least half the range away, and name another
#: value.
DEVIATION, OTHER_VALUE = 0.15, 0.25


def priors(objective: Objective, belief: Belief, seed: int) -> dict[str, Prior]:
    """What is believed about a problem in the study with this seed."""
    rng = np.random.default_rng([seed, belief.good])
    return {
        name: Prior(_value(entry, objective.optimum[name], belief.good, rng), belief.confidence)
        for name, entry in objective.distributions.items()
    }


def _value(entry: BaseDistribution, best: Any, good: bool, rng: np.random.Generator) -> Any:
    if isinstance(entry, CategoricalDistribution):
        others = [choice for choice in entry.choices if choice != best]
        return best if good and rng.random() > OTHER_VALUE else others[rng.integers(len(others))]
    scaled = UnitRange(entry)
    position = float(scaled.encode([best])[0])
    if good:
        return scaled.decode(float(np.clip(position + DEVIATION * rng.standard_normal(), 0.0, 1.0)))
    return scaled.decode(
        rng.uniform(position + 0.5, 1.0) if position < 0.5 else rng.uniform(0.0, position - 0.5)
    )
