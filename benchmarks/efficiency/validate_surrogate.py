"""Validate the surrogate where searches go: ``python -m benchmarks.efficiency.validate_surrogate``.

A surrogate fitted to random configurations is least certain in the regions that searches exploit. So the best
configurations of simulated searches, by several methods, are trained for real, and their scores are compared
with the predictions. The trainings are added to the table, as in surrogate benchmarks for architectures
(Zela et al., ICLR 2022), and the command can be repeated with the surrogate of the larger table: round r
numbers its configurations from r * ROUND on.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
import torch
from scipy import stats

from benchmarks.efficiency.baselines import MethodFactory, ours
from benchmarks.efficiency.curve_table import (
    ROUND,
    CurveTraining,
    finished_trainings,
    machine_in_words,
    restore,
    run,
    small_space,
    write_tables,
)
from benchmarks.efficiency.run_study import (
    BUDGETS,
    METHODS,
    SurrogateBenchmark,
    run_searches,
    validation_table,
)
from benchmarks.efficiency.surrogate import Surrogate
from rigsl.wording import counted
from search.export.environment import commit
from search.samplers.registry import DEFAULT_SAMPLER, SAMPLERS

#: Besides the compared methods, ours with each other sampler: the configurations should differ.
SEARCHES: Mapping[str, MethodFactory] = {
    **METHODS,
    **{name: partial(ours, sampler=name) for name in SAMPLERS if name != DEFAULT_SAMPLER},
}


def main() -> None:
    """Search, train, write the tables, print the comparison."""
    args = options()
    restore()
    before = {training["number"]: training["params"] for training in finished_trainings()}
    number_of_round = args.round or max(before) // ROUND + 1
    space = small_space()
    surrogate = Surrogate(space, validation_table(below=number_of_round * ROUND))
    jobs = [(name, 1 if seed % 2 else 8, seed) for name in args.methods for seed in range(args.studies)]
    benchmark = SurrogateBenchmark(space, surrogate)
    searches = [
        (SEARCHES[name], workers, seed, BUDGETS[workers] * benchmark.training_seconds)
        for name, workers, seed in jobs
    ]
    chosen: dict[int, dict[str, Any]] = {}
    rows = []
    for (name, *_), search in zip(jobs, run_searches(benchmark, searches), strict=True):
        params = surrogate.params(search.best_config)
        if params in chosen.values():
            continue
        number = number_of_round * ROUND + len(chosen)
        chosen[number] = params
        rows.append((number, name, 100 * surrogate.mean(params).max()))
        if before.get(number, params) != params:
            print(
                f"error: round {number_of_round} in the table has other configurations, made by other code; "
                f"use --round {number_of_round + 1}",
                file=sys.stderr,
            )
            raise SystemExit(2)
    origin = commit(), machine_in_words(args.device)
    trainings = [CurveTraining(number, 0, params, *origin) for number, params in chosen.items()]
    try:
        run(trainings, args.device, os.cpu_count() or 1, "best configurations of searches")
    finally:
        command = ["python", "-m", "benchmarks.efficiency.validate_surrogate", *sys.argv[1:]]
        write_tables(shlex.join(command))
    print_comparison(pd.DataFrame(rows, columns=["number", "method", "predicted"]))


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train the best configurations of simulated searches for real, compare their scores with "
        "the surrogate's predictions, and add them to the table of curves."
    )
    parser.add_argument("--round", type=int, help="number of the round (default: the next one)")
    parser.add_argument("--studies", type=int, default=8, help="searches per method (default: 8)")
    parser.add_argument(
        "--methods", nargs="+", choices=SEARCHES, default=list(METHODS), metavar="NAME",
        help="methods that search (default: ours and all baselines)",
    )  # fmt: skip
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="default: cuda if there is a GPU, else cpu",
    )
    return parser.parse_args()


def print_comparison(predicted: pd.DataFrame) -> None:
    """Print predicted and real best scores by method. predicted: columns number, method, predicted."""
    real = {
        training["number"]: 100 * max(epoch["weighted_f1"] for epoch in training["epochs"])
        for training in finished_trainings()
    }
    scores = predicted.assign(real=[real[number] for number in predicted["number"]])
    by_method = scores.groupby("method", sort=False)[["predicted", "real"]]
    print(by_method.agg(["mean", "max"]).round(2).to_string())
    correlation = stats.spearmanr(scores["predicted"], scores["real"]).statistic
    count = counted(len(scores), "configuration")
    print(f"{count}, rank correlation {correlation:.2f}; next: python -m benchmarks.efficiency")


if __name__ == "__main__":
    main()
