"""Run one simulated study: a search by one method, then the race of its finalists.

Learning curves are predicted by a surrogate model (`surrogate`) of the committed table (`curve_table`). All
methods have the same budget of simulated hours. The result of a search is the best validation score that it
has seen. How much of that is selection bias is measured by training its best configurations with new seeds,
and on the test scores of a table that only the final comparison reads.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
import threadpoolctl
from numpy.typing import NDArray

from benchmarks.efficiency.baselines import BASELINES, MethodFactory, ours
from benchmarks.efficiency.curve_table import SEALED, VALIDATION, small_space
from benchmarks.efficiency.simulator import Epoch, Limits, SimulationResult, simulate
from benchmarks.efficiency.surrogate import CurveTable, Surrogate, read_table
from search.confirm.race import Finalist, Race
from search.confirm.trainings import Block, JobResult
from search.space.final_seeds import CONSECUTIVE, final_seeds
from search.space.space import Space

FloatArray = NDArray[np.float64]
#: Number of workers -> wall time of a study, in multiples of a mean training's time.
BUDGETS = {1: 40.0, 8: 10.0}
#: Times at which the incumbent's score is read, as shares of the budget.
GRID = np.linspace(0.02, 1.0, 50)
#: Method -> factor of its budget, where that is not the others' budget.
BUDGET_FACTORS = {"quasi-random, twice the time": 2.0}
OURS = "ours"
METHODS: Mapping[str, MethodFactory] = {OURS: ours, **BASELINES}


def validation_table(*, below: int | None = None) -> CurveTable:
    """The committed table of validation scores; `below`: only configurations with smaller numbers."""
    frame = pd.read_parquet(VALIDATION)
    return read_table(frame if below is None else frame[frame["number"] < below], small_space())


def test_table() -> CurveTable:
    """The sealed table of test scores, which only the final comparison opens."""
    costs = pd.read_parquet(VALIDATION).drop(columns="weighted_f1")
    frame = pd.read_parquet(SEALED).merge(costs, on=["number", "seed", "epoch"])
    return read_table(frame, small_space(), "test_weighted_f1")


class SurrogateBenchmark(NamedTuple):
    """A search space and the surrogate models that stand for its real trainings."""

    space: Space
    validation: Surrogate
    test: Surrogate | None = None  #: None until the final comparison

    @property
    def training_seconds(self) -> float:
        """Duration of a mean training to its last epoch."""
        table = self.validation.table
        block = table.blocks == table.blocks.max()
        return float(table.seconds[block].mean() * table.scores.shape[1])


class WithoutRacing(NamedTuple):
    """Results of the finals when no finalist is dropped: each is trained with every seed."""

    confirmed: float
    test: float
    trainings: int


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """One simulated study. The fields are the columns of ``studies.parquet``."""

    method: str
    workers: int
    seed: int
    best: FloatArray  #: incumbent's validation score at each time of GRID
    expected: float  #: mean validation score of the best trial over new seeds, by the surrogate
    trials: int
    epochs: int
    search_score: float  #: of the best trial, in a search that left the finalists their time
    again: float  #: mean validation score of the same configuration over the finalists' seeds
    confirmed: float  #: mean validation score of the winning finalist
    test: float  #: mean test score of the winning finalist
    test_without: float  #: mean test score of the best trial of a search that used the whole budget
    trainings: int  #: trainings of the finalists
    unraced: WithoutRacing


def simulate_search(
    benchmark: SurrogateBenchmark, make_method: MethodFactory, workers: int, seed: int, seconds: float
) -> SimulationResult:
    """One search with a budget of `seconds` of simulated time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def curve(config: Mapping[str, object]) -> list[Epoch]:
        return benchmark.validation.curve(config, seed)

    method = make_method(benchmark.space, workers, seed)
    return simulate(method, curve, workers=workers, limits=Limits(seconds=seconds))


def run_study(
    benchmark: SurrogateBenchmark, name: str, make_method: MethodFactory, workers: int, seed: int
) -> StudyResult:
    """One study: the search, and its finalists."""
    final, training_seconds = benchmark.space.final, benchmark.training_seconds
    budget = BUDGETS[workers] * training_seconds * BUDGET_FACTORS.get(name, 1.0)
    search = simulate_search(benchmark, make_method, workers, seed, budget)
    reserved = final.finalists * final.finalist_seeds * training_seconds / workers
    race = _run_finals(benchmark, search, seed, budget - reserved)
    winner = race.ranked()[0]
    full_finals = _run_finals(benchmark, search, seed, budget - reserved, level=1.0, halving=False)
    full_winner = full_finals.ranked()[0]
    best = search.best_config
    return StudyResult(
        name,
        workers,
        seed,
        np.array([max(search.best_at(share * budget), 0.0) for share in GRID]),
        float(benchmark.validation.mean(benchmark.validation.params(best)).max()),
        len(search.configs),
        search.epochs,
        search_score=search.best_at(budget - reserved),
        again=full_finals.finalists[0].mean,
        confirmed=winner.mean,
        test=_test_score(benchmark, winner.config.to_dict(), seed),
        test_without=_test_score(benchmark, best, seed),
        trainings=_trainings(race),
        unraced=WithoutRacing(
            full_winner.mean,
            _test_score(benchmark, full_winner.config.to_dict(), seed),
            _trainings(full_finals),
        ),
    )


def _trainings(race: Race) -> int:
    return sum(len(finalist.scores) for finalist in race.finalists)


def _run_finals(
    benchmark: SurrogateBenchmark, search: SimulationResult, seed: int, until: float, **options: Any
) -> Race:
    """The race of the best trials at time `until`, the best one first; `options` are those of `Race`."""
    final = benchmark.space.final
    finalists = []
    for rank, trial in enumerate(search.best_trials_at(until, final.finalists)):
        params = benchmark.validation.params(search.configs[trial])
        config = benchmark.space.config(params, seed)
        search_score = max(score for end, score in search.scores[trial] if end <= until)
        finalists.append(Finalist(rank, config, params, search_score, complete=True))
    blocks = [Block(one) for one in final_seeds(seed, final, CONSECUTIVE).finalists]
    race = Race(finalists, blocks, **options)
    while job := race.next():
        curve = benchmark.validation.curve(job.config.to_dict(), job.config.seed)
        score = max(epoch.score for epoch in curve)
        race.ended(job, JobResult(score, len(curve), best_epoch=0))
    return race


def _test_score(benchmark: SurrogateBenchmark, config: Mapping[str, object], study_seed: int) -> float:
    """Mean test score over new training seeds, each at its best epoch on validation; NaN without test."""
    if benchmark.test is None:
        return float("nan")
    seeds = final_seeds(study_seed, benchmark.space.final, CONSECUTIVE).tests
    return float(np.mean([benchmark.test.curve(config, seed)[-1].score for seed in seeds]))


_benchmark: SurrogateBenchmark


def _init_process(benchmark: SurrogateBenchmark | None) -> None:
    """Set up a process of the pool: one thread, and the benchmark."""
    global _benchmark
    if benchmark is not None:
        _benchmark = benchmark
    threadpoolctl.threadpool_limits(1)


def _run_study(job: tuple[str, MethodFactory, int, int]) -> StudyResult:
    return run_study(_benchmark, *job)


def _simulate_search(job: tuple[MethodFactory, int, int, float]) -> SimulationResult:
    return simulate_search(_benchmark, *job)


def process_pool(benchmark: SurrogateBenchmark | None = None) -> ProcessPoolExecutor:
    """One process per core; each has its copy of `benchmark`."""
    context = multiprocessing.get_context("spawn")  # a fork could inherit another thread's lock, and hang
    return ProcessPoolExecutor(os.cpu_count(), context, _init_process, (benchmark,))


def run_studies(
    benchmark: SurrogateBenchmark, jobs: Sequence[tuple[str, MethodFactory, int, int]]
) -> Iterator[StudyResult]:
    """Run all studies (name, method factory, workers, seed) on all cores; results in the order of `jobs`."""
    with process_pool(benchmark) as pool:
        yield from pool.map(_run_study, jobs)


def run_searches(
    benchmark: SurrogateBenchmark, jobs: Sequence[tuple[MethodFactory, int, int, float]]
) -> Iterator[SimulationResult]:
    """Run searches (method factory, workers, seed, seconds) on all cores; results in the order of `jobs`."""
    with process_pool(benchmark) as pool:
        yield from pool.map(_simulate_search, jobs)
