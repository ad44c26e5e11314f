"""Studies in simulated time: one method, so many workers, one seed, and what came of its finalists.

Curves are those that a surrogate (`surrogate`) predicts from the committed table (`curve_table`). All
methods have the same hours. What a search has found is the best validation score that it has seen by then;
what that is worth is told by new seeds of its best configurations, and by the sealed table of test scores.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import optuna
import pandas as pd
import threadpoolctl
from numpy.typing import NDArray

from benchmarks.efficiency.baselines import RIVALS, Maker, ours
from benchmarks.efficiency.curve_table import SEALED, VALIDATION, small_space
from benchmarks.efficiency.simulator import Epoch, Limits, Outcome, simulate
from benchmarks.efficiency.surrogate import Surrogate, Table, read_table
from search.confirm.race import Finalist, Race
from search.confirm.trainings import Result as Ended
from search.space.space import Space

Floats = NDArray[np.float64]
#: Workers -> wall time of a study, in trainings of mean length.
BUDGETS = {1: 40.0, 8: 10.0}
#: Times at which the best score so far is read, as shares of the budget.
GRID = np.linspace(0.02, 1.0, 50)
#: Quasi-random search gets so much more time than the others.
TWICE = {"quasi-random, twice the time": 2.0}
OURS = "ours"
METHODS: Mapping[str, Maker] = {OURS: ours, **RIVALS}


def validation_table(*, below: int | None = None) -> Table:
    """The committed table; `below`: the configurations with smaller numbers alone."""
    frame = pd.read_parquet(VALIDATION)
    return read_table(frame if below is None else frame[frame["number"] < below], small_space())


def test_table() -> Table:
    """The sealed table of test scores, which the final comparison alone opens."""
    costs = pd.read_parquet(VALIDATION).drop(columns="weighted_f1")
    frame = pd.read_parquet(SEALED).merge(costs, on=["number", "seed", "epoch"])
    return read_table(frame, small_space(), "test_weighted_f1")


class World(NamedTuple):
    """What the simulated trainings are made of."""

    space: Space
    validation: Surrogate
    test: Surrogate | None = None  #: not opened before the final comparison

    @property
    def training_seconds(self) -> float:
        """Of a mean training to its end."""
        table = self.validation.table
        block = table.blocks == table.blocks.max()
        return float(table.seconds[block].mean() * table.scores.shape[1])


class Unraced(NamedTuple):
    """What the finals would have been, had every finalist been trained with every seed."""

    confirmed: float
    test: float
    trainings: int


@dataclasses.dataclass(frozen=True)
class Result:
    """One simulated study."""

    method: str
    workers: int
    seed: int
    best: Floats  #: score seen, at each time of GRID
    expected: float  #: what new seeds of the best trial would give in the mean
    trials: int
    epochs: int
    search_score: float  #: of the best trial, of a search that left the finalists their time
    again: float  #: of the same configuration, over all the finalists' seeds
    confirmed: float  #: of the finalist that won
    test: float  #: on test, the finalist that won
    test_without: float  #: on test, the best trial of a search that used all the time
    trainings: int  #: of the finalists
    unraced: Unraced


def outcome(world: World, maker: Maker, workers: int, seed: int, seconds: float) -> Outcome:
    """One search of so many simulated seconds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def curve(config: Mapping[str, object]) -> list[Epoch]:
        return world.validation.curve(config, seed)

    return simulate(maker(world.space, workers, seed), curve, workers=workers, limits=Limits(seconds=seconds))


def play(world: World, name: str, maker: Maker, workers: int, seed: int) -> Result:
    """One study: the search, and its finalists."""
    final, length = world.space.final, world.training_seconds
    budget = BUDGETS[workers] * length * TWICE.get(name, 1.0)
    found = outcome(world, maker, workers, seed, budget)
    reserved = final.finalists * final.finalist_seeds * length / workers
    race = _final(world, found, seed, budget - reserved)
    winner = race.ranked()[0]
    unraced = _final(world, found, seed, budget - reserved, level=1.0)
    other = unraced.ranked()[0]
    best = found.configs[found.history[-1].trial]
    return Result(
        name,
        workers,
        seed,
        np.array([max(found.best_at(share * budget), 0.0) for share in GRID]),
        float(world.validation.mean(world.validation.params(best)).max()),
        len(found.configs),
        found.epochs,
        search_score=found.best_at(budget - reserved),
        again=unraced.finalists[0].mean,
        confirmed=winner.mean,
        test=_tested(world, winner.config.to_dict(), seed),
        test_without=_tested(world, best, seed),
        trainings=_trainings(race),
        unraced=Unraced(other.mean, _tested(world, other.config.to_dict(), seed), _trainings(unraced)),
    )


def _trainings(race: Race) -> int:
    return sum(len(one.scores) for one in race.finalists)


def _final(world: World, found: Outcome, seed: int, until: float, **options: float) -> Race:
    """The race of the best trials by then, with `options` of `Race`; the first finalist is the best trial."""
    final = world.space.final
    leaders = found.leaders_at(until, final.finalists)
    finalists = []
    for place, trial in enumerate(leaders):
        params = world.validation.params(found.configs[trial])
        config = world.space.config(params, seed)
        search_score = max(score for end, score in found.scores[trial] if end <= until)
        finalists.append(Finalist(place, config, params, search_score, complete=True))
    race = Race(finalists, final.finalist_numbers(seed), **options)
    while job := race.next():
        curve = world.validation.curve(job.config.to_dict(), job.config.seed)
        score = max(epoch.score for epoch in curve)
        race.ended(job, Ended(score, len(curve), best_epoch=0))
    return race


def _tested(world: World, config: Mapping[str, object], seed: int) -> float:
    """The mean test score of trainings with new seeds, each of the model that was its best on validation."""
    if world.test is None:
        return float("nan")
    seeds = world.space.final.test_numbers(seed)
    return float(np.mean([world.test.curve(config, one)[-1].score for one in seeds]))


_world: World


def _begin(world: World | None) -> None:
    """A process of an executor: one thread, the same world."""
    global _world
    if world is not None:
        _world = world
    threadpoolctl.threadpool_limits(1)


def _play(job: tuple[str, Maker, int, int]) -> Result:
    return play(_world, *job)


def _found(job: tuple[Maker, int, int]) -> Mapping[str, object]:
    maker, workers, seed = job
    found = outcome(_world, maker, workers, seed, BUDGETS[workers] * _world.training_seconds)
    return found.configs[found.history[-1].trial]


def executor(world: World | None = None) -> ProcessPoolExecutor:
    """Processes, one a core, that have `world`."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads' locks, and hang
    return ProcessPoolExecutor(os.cpu_count(), context, _begin, (world,))


def results(world: World, jobs: Sequence[tuple[str, Maker, int, int]]) -> Iterator[Result]:
    """Play all studies (name, maker, workers, seed) on all cores, in their order."""
    with executor(world) as processes:
        yield from processes.map(_play, jobs)


def best_of(world: World, jobs: Sequence[tuple[Maker, int, int]]) -> Iterator[Mapping[str, object]]:
    """The best configuration of each search (maker, workers, seed)."""
    with executor(world) as processes:
        yield from processes.map(_found, jobs)
