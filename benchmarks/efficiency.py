"""What a search finds per hour, against every other way: ``python -m benchmarks.efficiency``.

Studies are replayed in simulated time on curves that a surrogate predicts from the committed table
(`curve_table`, `surrogate`): our searcher and scheduler themselves, and each rival of `rivals` as it is used.
All have the same hours. What a study has found is the best validation score that it has seen by then; what
that is worth is told by the sealed table of test scores, after the finalist stage.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import stats

from benchmarks.curve_table import SEALED, VALIDATION, small_space
from benchmarks.rivals import RIVALS, Maker, ours
from benchmarks.simulator import Epoch, Limits, simulate
from benchmarks.surrogate import Surrogate, held_out_error, read_table
from search.runtime import ROOT
from search.space import Schedule, Space

Floats = NDArray[np.float64]
OUT = ROOT / "runs" / "efficiency"
#: Workers -> wall time of a study, in trainings of mean length.
BUDGETS = {1: 40.0, 8: 10.0}
#: Times at which the best score so far is read, as shares of the budget.
GRID = np.linspace(0.02, 1.0, 50)
#: Quasi-random search gets so much more time than the others.
TWICE = {"quasi-random": 2.0}
#: Finalists, their seeds, and the seeds of the test; as in the space.
FINALISTS, FINALIST_SEEDS, TEST_SEEDS = 4, 3, 5
OURS = "ours"

ABLATIONS: Mapping[str, Maker] = {
    "without start points": lambda space, workers, seed: ours(
        dataclasses.replace(space, starts=()), workers, seed
    ),
    "no scheduler": partial(ours, schedule=Schedule("none")),
    "grace 1": partial(ours, schedule=Schedule("asha", grace=1)),
    "grace 2": partial(ours, schedule=Schedule("asha", grace=2)),
    "reduction 2": partial(ours, schedule=Schedule("asha", reduction=2)),
    "reduction 4": partial(ours, schedule=Schedule("asha", reduction=4)),
    "hyperband": partial(ours, schedule=Schedule("hyperband", grace=1)),
    "median": partial(ours, schedule=Schedule("median")),
    "random + ASHA": partial(ours, sampler="random"),
    "cmaes": partial(ours, sampler="cmaes"),
    "auto": partial(ours, sampler="auto"),
}
METHODS: Mapping[str, Maker] = {OURS: ours, **RIVALS}


@dataclasses.dataclass(frozen=True)
class Result:
    """One simulated study: the best score at each time of GRID, its trials, what came of its finalists."""

    method: str
    workers: int
    seed: int
    best: Floats
    trials: int
    search_score: float  #: of the best trial, as the search saw it
    confirmed: float  #: the winner's mean over new seeds
    test: float  #: the winner's mean on test; its search had to leave the finalists their time
    test_without: float  #: the same for the best trial of a search that used all the time


@cache
def _space() -> Space:
    return small_space()


@cache
def _validation() -> Surrogate:
    return Surrogate(_space(), read_table(pd.read_parquet(VALIDATION), _space()))


@cache
def _test() -> Surrogate:
    frame = pd.read_parquet(SEALED).merge(
        pd.read_parquet(VALIDATION).drop(columns="weighted_f1"), on=["number", "seed", "epoch"]
    )
    return Surrogate(_space(), read_table(frame, _space(), "test_weighted_f1"))


def _training_seconds() -> float:
    """Of a mean training to its end."""
    return float(_validation().table.seconds.sum(axis=1).mean())


def study(method: str, workers: int, seed: int) -> Result:
    """Simulate one study, then its finalists."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    budget = BUDGETS[workers] * _training_seconds() * TWICE.get(method, 1.0)
    maker = (METHODS | ABLATIONS)[method]
    surrogate, space = _validation(), _space()

    def curve(config: Mapping[str, object]) -> list[Epoch]:
        return surrogate.curve(config, seed)

    made = maker(space, workers, seed)
    outcome = simulate(made, curve, workers=workers, limits=Limits(seconds=budget))
    best = np.array([max(outcome.best_at(share * budget), 0.0) for share in GRID])
    cost = FINALISTS * FINALIST_SEEDS * _training_seconds() / workers
    leaders = [outcome.configs[trial] for trial in outcome.leaders_at(budget - cost, FINALISTS)]
    means = [
        np.mean([_best(surrogate, one, seed, turn) for turn in range(FINALIST_SEEDS)]) for one in leaders
    ]
    winner = int(np.argmax(means))
    return Result(
        method,
        workers,
        seed,
        best,
        len(outcome.configs),
        search_score=outcome.best_at(budget - cost),
        confirmed=float(means[winner]),
        test=_tested(leaders[winner], seed),
        test_without=_tested(outcome.configs[outcome.history[-1].trial], seed),
    )


def _best(surrogate: Surrogate, config: Mapping[str, object], seed: int, turn: int) -> float:
    """The best epoch of a training with a new seed."""
    return max(epoch.score for epoch in surrogate.curve(config, 1_000_000 + 1000 * seed + turn))


def _tested(config: Mapping[str, object], seed: int) -> float:
    """The mean test score of trainings with new seeds, each at its last epoch's best model."""
    scores = [_test().curve(config, 2_000_000 + 1000 * seed + turn)[-1].score for turn in range(TEST_SEEDS)]
    return float(np.mean(scores))


def run(methods: Sequence[str], workers: int, studies: int) -> dict[str, list[Result]]:
    """All studies of all methods, on all cores."""
    jobs = [(method, workers, seed) for method in methods for seed in range(studies)]
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads' locks, and hang
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        found = list(track(pool.map(study, *zip(*jobs, strict=True)), f"{workers} workers", total=len(jobs)))
    return {method: [one for one in found if one.method == method] for method in methods}


def interval(values: Floats, draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    chance = np.random.default_rng(0)
    medians = np.median(chance.choice(values, (draws, len(values))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


def time_to(best: Floats, score: float) -> Floats:
    """The share of the budget after which each study has reached `score`, 1 where it has not. [studies]"""
    reached = best >= score
    return np.where(reached.any(axis=1), GRID[reached.argmax(axis=1)], 1.0)


def rows(found: Mapping[str, list[Result]]) -> pd.DataFrame:
    """One row a method: medians at half and full time, speed against random, rank, and after the finals."""
    best = {method: np.stack([one.best for one in results]) for method, results in found.items()}
    finals = np.stack([values[:, -1] for values in best.values()], axis=1)
    ranks = stats.rankdata(-finals, axis=1).mean(axis=0)
    target = float(np.median(best["random"][:, -1]))
    lines = []
    for (method, values), rank in zip(best.items(), ranks, strict=True):
        times = time_to(values, target)
        results = found[method]
        low, high = interval(values[:, -1])
        worse = "" if method == OURS else _wilcoxon(best[OURS][:, -1] - values[:, -1])
        lines.append(
            {
                "method": method,
                "half": np.median(values[:, len(GRID) // 2 - 1]),
                "full": np.median(values[:, -1]),
                "interval": f"{100 * low:.2f} to {100 * high:.2f}",
                "time": np.median(times),
                "rank": rank,
                "p": worse,
                "trials": np.mean([one.trials for one in results]),
                "optimism": np.mean([one.search_score - one.confirmed for one in results]),
                "test": np.mean([one.test for one in results]),
                "test_without": np.mean([one.test_without for one in results]),
            }
        )
    return pd.DataFrame(lines)


def _wilcoxon(differences: Floats) -> str:
    if not differences.any():
        return "1"
    return f"{stats.wilcoxon(differences, alternative='greater').pvalue:.1g}"


def markdown(table: pd.DataFrame) -> str:
    """The table for a README."""
    head = (
        "| method | best F1 at half time | at full time (95 %) | time to random's final score | mean rank | "
        "p (ours is better) | trials | optimism | test F1 with finalists | without |"
    )
    lines = [head, "|---|" + "--:|" * 9]
    for row in table.to_dict("records"):
        lines.append(
            f"| {row['method']} | {100 * row['half']:.2f} | {100 * row['full']:.2f} ({row['interval']}) | "
            f"{row['time']:.2f} | {row['rank']:.1f} | {row['p']} | {row['trials']:.0f} | "
            f"{100 * row['optimism']:+.2f} | {100 * row['test']:.2f} | "
            f"{100 * row['test_without']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What a search finds per hour, against other ways.")
    parser.add_argument("--studies", type=int, default=30, help="of every method (default: 30)")
    parser.add_argument("--workers", type=int, nargs="+", default=list(BUDGETS), choices=list(BUDGETS))
    parser.add_argument("--ablations", action="store_true", help="variants of ours in place of rivals")
    args = parser.parse_args()
    console = Console()
    error = held_out_error(_space(), _validation().table)
    named = {name: round(one, 4) for name, one in error.items()}
    console.print("surrogate on configurations held out:", named)
    methods = ["random", OURS, *ABLATIONS] if args.ablations else list(METHODS)
    OUT.mkdir(parents=True, exist_ok=True)
    for workers in args.workers:
        table = rows(run(methods, workers, args.studies))
        console.print(f"\n{workers} workers\n")
        print(markdown(table))
        kind = "ablations" if args.ablations else "rivals"
        table.to_csv(OUT / f"{kind}-{workers}.csv", index=False)


if __name__ == "__main__":
    main()
