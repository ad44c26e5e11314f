"""Every sampler and every scheduler finds the known optimum of one small problem better than chance does."""

from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pytest

from benchmarks.simulator import Limits, simulate_study
from search.sampler import SAMPLERS
from search.space import SCHEDULERS, Schedule

from .synthetic import OPTIMUM, make_space, objective

SEEDS = {"gp": range(3)}  #: a Gaussian process takes its time
MANY = range(8)
TRIALS, EPOCHS = 50, 600
SCHEDULES = {
    "asha": Schedule("asha", grace=3, reduction=3),
    "hyperband": Schedule("hyperband", grace=3, reduction=3, brackets=2),
    "median": Schedule("median", grace=3),
    "pbt": Schedule("pbt", interval=3),
    "none": Schedule("none"),
}


@cache
def regret(sampler: str, scheduler: str, limits: Limits, seed: int) -> float:
    """How far the best score of a study stays behind the optimum."""
    with TemporaryDirectory() as folder:
        space = make_space(Path(folder))
        found = simulate_study(
            space,
            objective,
            limits=limits,
            workers=2,
            sampler=sampler,
            schedule=SCHEDULES[scheduler],
            seed=seed,
        )
    return OPTIMUM - found.best


def regrets(sampler: str, scheduler: str, limits: Limits) -> list[float]:
    return [regret(sampler, scheduler, limits, seed) for seed in SEEDS.get(sampler, MANY)]


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "random"])
def test_a_sampler_beats_random_draws_at_equal_trials(sampler: str) -> None:
    limits = Limits(trials=TRIALS)
    ours, chance = regrets(sampler, "none", limits), regrets("random", "none", limits)
    assert median(ours) < median(chance)
    assert median(ours) < 0.12


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "none"])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_scheduler_beats_whole_trainings_at_equal_epochs(scheduler: str, sampler: str) -> None:
    limits = Limits(epochs=EPOCHS)
    ours, whole = regrets(sampler, scheduler, limits), regrets("random", "none", limits)
    assert median(ours) < median(whole)


def test_what_run_search_does_by_default_is_near_the_optimum() -> None:
    assert median(regrets("tpe", "asha", Limits(epochs=3 * EPOCHS))) < 0.04
