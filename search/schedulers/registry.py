"""The schedulers by name.

A new scheduler is a file in this folder with a factory (search/schedulers/factory.py), and a line in
SCHEDULER_FACTORIES. Its name and the keys that it takes in a space file are a line in
search/space/schedule.py: the two lists must agree, or this module cannot be imported.
"""

from __future__ import annotations

from collections.abc import Collection

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from rigsl.errors import UserError
from search.schedulers.factory import SchedulerContext, SchedulerFactory
from search.schedulers.halving import make_asha, make_hyperband
from search.schedulers.median import make_median
from search.schedulers.pbt import Population
from search.schedulers.pbt_scheduler import make_pbt
from search.schedulers.recorded_curves import Curves
from search.space.schedule import SCHEDULERS, Schedule


def make_none(context: SchedulerContext) -> FIFOScheduler:
    """none: no trial is stopped early."""
    return FIFOScheduler()


SCHEDULER_FACTORIES: dict[str, SchedulerFactory] = {
    "asha": make_asha,
    "hyperband": make_hyperband,
    "median": make_median,
    "pbt": make_pbt,
    "none": make_none,
}


def check_registered(names: Collection[str], factories: Collection[str]) -> None:
    """Every scheduler that a space can name has a factory, and the other way round.

    Raises:
        RuntimeError: one is missing on either side.
    """
    if missing := set(names) - set(factories):
        raise RuntimeError(
            f"scheduler '{min(missing)}' has no factory: add it to SCHEDULER_FACTORIES in "
            "search/schedulers/registry.py"
        )
    if missing := set(factories) - set(names):
        raise RuntimeError(
            f"scheduler '{min(missing)}' is unknown to space files: add it to SCHEDULERS in "
            "search/space/schedule.py"
        )


check_registered(SCHEDULERS, SCHEDULER_FACTORIES)


def make_scheduler(
    schedule: Schedule,
    *,
    metric: str,
    epochs: int,
    seed: int,
    curves: Curves,
    population: Population | None = None,
) -> TrialScheduler:
    """The scheduler that `schedule` describes.

    Args:
        schedule: its name and options.
        metric: the score, in what a trial reports.
        epochs: of a whole trial.
        seed: of the study.
        curves: of the trials in the record; the scheduler starts with them.
        population: of the study, where the scheduler is pbt.

    Raises:
        UserError: there is no scheduler of this name.
    """
    if schedule.name not in SCHEDULER_FACTORIES:
        names = ", ".join(SCHEDULER_FACTORIES)
        raise UserError(f"unknown scheduler '{schedule.name}'; choose one of {names}")
    context = SchedulerContext(schedule, metric, epochs, seed, curves, population)
    return SCHEDULER_FACTORIES[schedule.name](context)
