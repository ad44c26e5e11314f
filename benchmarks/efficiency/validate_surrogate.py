"""Real trainings of what simulated searches found: ``python -m benchmarks.efficiency.validate_surrogate``.

A surrogate that knows random configurations alone is least sure where searches go. So the best configuration
of simulated searches of several kinds is trained for real and enters the table (as in surrogate benchmarks
for architectures: Zela et al., ICLR 2022). That can be done again with the surrogate of the larger table:
round r is numbered from r times FOUND on. What the surrogate had predicted is compared with what came out.
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

from benchmarks.efficiency.baselines import Maker, ours
from benchmarks.efficiency.curve_table import (
    FOUND,
    Job,
    parts,
    restore,
    run,
    small_space,
    write_tables,
)
from benchmarks.efficiency.run_study import METHODS, World, best_of, validation_table
from benchmarks.efficiency.surrogate import Surrogate
from search.export.environment import commit
from search.samplers.registry import SAMPLERS

#: Searches of ours with other samplers, too, so that the configurations differ.
SEARCHES: Mapping[str, Maker] = {**METHODS, **{name: partial(ours, sampler=name) for name in SAMPLERS[1:]}}


def main() -> None:
    """Find, train, write the tables."""
    parser = argparse.ArgumentParser(description="Train what simulated searches found, for the table.")
    parser.add_argument("--round", type=int, help="default: the one after the table's last")
    parser.add_argument("--studies", type=int, default=8, help="of every method (default: 8)")
    parser.add_argument("--methods", nargs="+", choices=SEARCHES, default=list(METHODS), metavar="NAME")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    restore()
    before = {part["number"]: part["params"] for part in parts()}
    place = args.round or max(before) // FOUND + 1
    space = small_space()
    world = World(space, Surrogate(space, validation_table(below=place * FOUND)))
    jobs = [(name, 1 if seed % 2 else 8, seed) for name in args.methods for seed in range(args.studies)]
    best = best_of(world, [(SEARCHES[name], workers, seed) for name, workers, seed in jobs])
    begun: dict[int, dict[str, Any]] = {}
    rows = []
    for (name, *_), config in zip(jobs, best, strict=True):
        params = world.validation.params(config)
        if params in begun.values():
            continue
        number = place * FOUND + len(begun)
        begun[number] = params
        rows.append((number, name, 100 * world.validation.mean(params).max()))
        if before.get(number, params) != params:
            print(f"error: round {place} was made by other code; take --round {place + 1}", file=sys.stderr)
            raise SystemExit(2)
    code = commit()
    trainings = [Job(number, 0, params, code) for number, params in begun.items()]
    try:
        run(trainings, args.device, os.cpu_count() or 1, "what searches found")
    finally:
        write_tables(
            shlex.join(["python", "-m", "benchmarks.efficiency.validate_surrogate", *sys.argv[1:]]),
            args.device,
        )
    truth = {part["number"]: 100 * max(e["weighted_f1"] for e in part["epochs"]) for part in parts()}
    found = pd.DataFrame(rows, columns=["number", "method", "predicted"])
    found["came out"] = [truth[number] for number in found["number"]]
    by_method = found.groupby("method", sort=False)[["predicted", "came out"]]
    print(by_method.agg(["mean", "max"]).round(2).to_string())
    rank = stats.spearmanr(found["predicted"], found["came out"]).statistic
    print(f"{len(found)} configurations, rank correlation {rank:.2f}: next, python -m benchmarks.efficiency")


if __name__ == "__main__":
    main()
