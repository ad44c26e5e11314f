"""Every sampler and every scheduler finds a known optimum better than chance, at equal cost.

The problem is `synthetic`: six parameters, one of them under a condition, and learning curves that cross.
Proposals are compared after the same number of trials, schedulers after the same number of epochs. The regret
is what the best score lacks to the optimum; its median over study seeds is compared with that of random
search that stops no trial. The limits leave room: with other seeds, too, they hold in 19 of 20 draws.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from benchmarks.efficiency.simulator import Limits, simulate_study
from search.samplers import registry as sampler_module
from search.samplers.qmc import at, points
from search.samplers.registry import SAMPLERS
from search.space.distributions import distribution
from search.space.schedule import SCHEDULERS, Schedule
from tests.helpers.objectives import OPTIMUM, loss, make_space, objective

EPOCHS = Limits(epochs=800)
#: sampler -> trials, study seeds, its regret as a share of random search's, and its regret at most
PROPOSALS = {
    "tpe": (60, 11, 0.7, 0.05),
    "joint": (60, 11, 0.7, 0.05),
    "gp": (40, 9, 0.55, 0.04),
    "cmaes": (60, 9, 0.5, 0.03),
    "auto": (60, 5, 0.5, 0.04),
    "qmc": (60, 31, 1.2, 0.09),  # of many more seeds below
}
#: scheduler -> sampler -> study seeds, share and most, as above
SCHEDULES = {
    "asha": {"random": (15, 0.75, 0.065), "gp": (5, 0.1, 0.01), "tpe": (9, 0.6, 0.05)},
    "hyperband": {"random": (15, 0.85, 0.075), "gp": (5, 0.1, 0.01), "tpe": (9, 0.6, 0.05)},
    "median": {"random": (21, 0.95, 0.085), "gp": (5, 0.1, 0.01), "tpe": (9, 0.75, 0.06)},
    "pbt": {"random": (9, 0.85, 0.08), "gp": (5, 0.35, 0.03), "tpe": (9, 0.7, 0.06)},
}
#: Seeds of random search.
CHANCE = 31


@cache
def regret(sampler: str, scheduler: str, limits: Limits, seeds: int) -> float:
    """The median over study seeds of what the best score lacks to the optimum."""
    schedule = Schedule(scheduler, grace=1) if scheduler != "none" else Schedule("none")
    with TemporaryDirectory() as folder:
        space = make_space(Path(folder))
        found = [
            simulate_study(
                space, objective, limits=limits, sampler=sampler, schedule=schedule, seed=seed
            ).best
            for seed in range(seeds)
        ]
    return OPTIMUM - float(np.median(found))


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "random"])
def test_proposals_beat_random_ones_after_as_many_trials(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "SHORT", 20)  # auto changes over within this test
    trials, seeds, share, most = PROPOSALS[sampler]
    found = regret(sampler, "none", Limits(trials=trials), seeds)
    assert found < share * regret("random", "none", Limits(trials=trials), CHANCE)
    assert found < most


def test_quasi_random_points_beat_independent_ones(tmp_path: Path) -> None:
    """By some percent only, which shows in the mean over many seeds: so the points alone, without a study."""
    space = make_space(tmp_path)
    distributions = {name: distribution(found) for name, found in space.parameters.items()}

    def mean(draw: Callable[[int], Iterable[Mapping[str, Any]]]) -> float:
        return float(np.mean([min(loss(point) for point in islice(draw(seed), 60)) for seed in range(1500)]))

    def independent(seed: int) -> Iterator[Mapping[str, Any]]:
        chance = np.random.default_rng(seed)
        while True:
            yield {name: at(found, chance.random()) for name, found in distributions.items()}

    assert mean(partial(points, distributions)) < 0.98 * mean(independent)


@pytest.mark.parametrize("sampler", ["random", "gp", "tpe"])
@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "none"])
def test_stopping_weak_trials_beats_finishing_all_after_as_many_epochs(scheduler: str, sampler: str) -> None:
    seeds, share, most = SCHEDULES[scheduler][sampler]
    found = regret(sampler, scheduler, EPOCHS, seeds)
    assert found < share * regret("random", "none", EPOCHS, CHANCE)
    assert found < most
