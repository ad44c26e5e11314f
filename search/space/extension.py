"""How a study that has ended can go on: which of its limits are used up, and options that raise them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from search.space.budget import Budget, Spent, exhausted

#: What a target grows by: one point of weighted F1.
TARGET_STEP = 0.01


def extended(budget: Budget, spent: Spent) -> Budget | None:
    """`budget` with every limit that is used up raised: doubled, until there is something left of it.

    A time limit that is raised is the user's, and no longer waits for trials.

    None: that does not help, as after `FAILURES_IN_A_ROW` failures, or no limit is used up.
    """
    limits: dict[str, Any] = {
        name: limit for name, limit in dataclasses.asdict(budget).items() if limit is not None
    }
    least = limits.pop("least_trials", None)
    raised: dict[str, Any] = {name: _raised(name, limit, spent, least) for name, limit in limits.items()}
    if raised == limits or None in raised.values():
        return None
    if raised.get("minutes") != budget.minutes:
        least = None
    longer = dataclasses.replace(budget, **raised, least_trials=least)
    return None if exhausted(longer, spent) else longer


def _raised(name: str, limit: float, spent: Spent, least: int | None) -> float | None:
    """A value of one limit under which the study goes on; the limit itself where it is not used up."""
    if name == "target":
        best = max((score for score in spent.scores if score is not None), default=0.0)
        target = round(math.floor(100 * best) / 100 + TARGET_STEP, 2)
        return limit if best < limit else target if target <= 1 else None
    if name == "minutes" and least is not None and not _used_up(name, limit, spent, least_trials=least):
        return limit
    other = dataclasses.replace(spent, scores=spent.scores if name == "patience" else ())
    while _used_up(name, limit, other):
        limit *= 2
    return limit


def _used_up(name: str, limit: float, spent: Spent, **more: Any) -> bool:
    alone: dict[str, Any] = {name: limit, **more}
    ending = exhausted(Budget(**alone), spent)
    return ending is not None and not ending.endswith("trials failed")


def extending_options(budget: Budget, longer: Budget) -> str:
    """The options of the command line that make `longer` of `budget`: ``--trials 40``."""
    values = {
        "trials": longer.trials,
        "time-budget": None if longer.minutes is None else f"{math.ceil(60 * longer.minutes)}s",
        "gpu-hours": None if longer.gpu_hours is None else f"{longer.gpu_hours:g}",
        "target": longer.target,
        "patience": longer.patience,
    }
    if longer.minutes is not None and longer.minutes == int(longer.minutes):
        values["time-budget"] = f"{int(longer.minutes)}m"
    fields = ("trials", "minutes", "gpu_hours", "target", "patience")
    changed = [getattr(budget, field) != getattr(longer, field) for field in fields]
    pairs = zip(values.items(), changed, strict=True)
    return " ".join(f"--{name} {value}" for (name, value), different in pairs if different)
