"""When weak trials are stopped: the ``[scheduler]`` of a space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigsl.errors import UserError

#: name -> the keys that mean something to it
SCHEDULERS = {
    "asha": {"grace", "reduction"},
    "hyperband": {"grace", "reduction", "brackets"},
    "median": {"grace"},
    "pbt": {"interval", "population", "quantile"},
    "none": set[str](),
}


@dataclass(frozen=True)
class Schedule:
    """When a weak trial is stopped: the scheduler and its options."""

    name: str = "asha"
    grace: int = 3  #: epochs that every trial gets
    reduction: int = 3  #: one of so many trials goes on at each rung
    brackets: int = 3  #: different first rungs
    interval: int = 3  #: epochs between two looks at a trial
    population: int = 6  #: trials that are compared, and how many begin before the first is replaced
    quantile: float = 0.5  #: share of a population that is replaced, and of its best, by whose children


def read_schedule(table: dict[str, Any], path: Path) -> Schedule:
    """The schedule that the table ``[scheduler]`` of the file `path` describes.

    Raises:
        UserError: an unknown scheduler or key, or a bad value.
    """
    name = table.get("name", Schedule.name)
    if name not in SCHEDULERS:
        raise UserError(f"{path}: [scheduler] name: {name!r} is not one of {', '.join(SCHEDULERS)}")
    for key, value in table.items():
        if key != "name" and key not in SCHEDULERS[name]:
            raise UserError(f"{path}: [scheduler] {key}: means nothing to the scheduler '{name}'")
        if key == "quantile":
            if not isinstance(value, float) or not 0 < value <= 0.5:
                raise UserError(f"{path}: [scheduler] quantile: {value!r} is not a number above 0, up to 0.5")
            continue
        least = 2 if key in ("reduction", "population") else 1
        if key != "name" and (type(value) is not int or value < least):
            raise UserError(f"{path}: [scheduler] {key}: {value!r} is not a whole number from {least} up")
    return Schedule(**table)
