"""The scheduler of a study, which stops weak trials early: the section ``[scheduler]`` of a space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigsl.errors import UserError

#: Scheduler -> the keys that it takes. What each does with a trial: search/schedulers/registry.py.
SCHEDULERS = {
    "asha": {"grace", "reduction"},
    "hyperband": {"grace", "reduction", "brackets"},
    "median": {"grace"},
    "pbt": {"interval", "population", "quantile"},
    "none": set[str](),
}


@dataclass(frozen=True)
class Schedule:
    """A scheduler and its options; each scheduler takes the keys in SCHEDULERS."""

    name: str = "asha"
    grace: int = 3  #: grace period: epochs that every trial gets
    reduction: int = 3  #: reduction factor: one in this many trials is promoted at each rung
    brackets: int = 3  #: Hyperband's brackets, each with another first rung
    interval: int = 3  #: perturbation interval: epochs between two comparisons of a trial
    population: int = 6  #: trials compared with each other, and started before the first is replaced
    quantile: float = 0.5  #: share of the population that is replaced, by children of the best such share


def read_schedule(table: dict[str, Any], path: Path) -> Schedule:
    """The schedule in the table ``[scheduler]`` of the space file `path`.

    Raises:
        UserError: an unknown scheduler or key, or a bad value.
    """
    where = f"{path}: [scheduler]"
    name = table.get("name", Schedule.name)
    if name not in tuple(SCHEDULERS):
        raise UserError(f"{where} name: {name!r} is not one of {', '.join(SCHEDULERS)}")
    options = {key: value for key, value in table.items() if key != "name"}
    for key, value in options.items():
        if key not in SCHEDULERS[name]:
            takes = ", ".join(sorted(SCHEDULERS[name])) or "no options"
            raise UserError(f"{where} {key}: unknown key for scheduler '{name}'; it takes {takes}")
        if key == "quantile":
            if not isinstance(value, float) or not 0 < value <= 0.5:
                raise UserError(f"{where} quantile: {value!r} is not a number above 0, up to 0.5")
            continue
        minimum = 2 if key in ("reduction", "population") else 1
        if type(value) is not int or value < minimum:
            raise UserError(f"{where} {key}: {value!r} is not a whole number from {minimum} up")
    return Schedule(**table)
