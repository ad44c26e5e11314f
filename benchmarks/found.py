"""Real trainings of what simulated searches found: ``python -m benchmarks.found``.

A surrogate that knows random configurations alone is least sure where searches go. So the best configuration
of simulated searches of several kinds is trained for real and enters the table, numbered from FOUND on (as
in surrogate benchmarks for architectures: Zela et al., ICLR 2022). What the surrogate had predicted for them
before is compared with what came out.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

import numpy as np
import torch
from scipy import stats

from benchmarks.contest import METHODS, World, best_of, validation_table
from benchmarks.curve_table import FOUND, Job, parts, restore, run, small_space, write_tables
from benchmarks.rivals import ours
from benchmarks.surrogate import Surrogate
from search.environment import commit

#: Searches of ours with other samplers, so that the configurations differ.
SEARCHES = {**METHODS, **{name: partial(ours, sampler=name) for name in ("joint", "cmaes", "gp")}}


def main() -> None:
    """Find, train, write the tables."""
    parser = argparse.ArgumentParser(description="Train what simulated searches found, for the table.")
    parser.add_argument("--studies", type=int, default=8, help="of every method (default: 8)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    restore()
    space = small_space()
    world = World(space, Surrogate(space, validation_table(found=False)))
    begun = {part["number"]: part["params"] for part in parts() if part["number"] >= FOUND}
    if not begun:
        jobs = [
            (maker, 1 if seed % 2 else 8, seed) for maker in SEARCHES.values() for seed in range(args.studies)
        ]
        for config in best_of(world, jobs):
            params = world.validation.params(config)
            if params not in begun.values():
                begun[FOUND + len(begun)] = params
    code = commit()
    trainings = [Job(number, 0, params, code) for number, params in begun.items()]
    try:
        run(trainings, args.device, os.cpu_count() or 1, "what searches found")
    finally:
        write_tables(" ".join(["python -m benchmarks.found", *sys.argv[1:]]), args.device)
    truth = {part["number"]: max(e["weighted_f1"] for e in part["epochs"]) for part in parts()}
    real = np.array([truth[number] for number in begun])
    predicted = np.array([world.validation.mean(params).max() for params in begun.values()])
    rank = stats.spearmanr(real, predicted).statistic
    print(
        f"{len(real)} configurations: predicted {100 * predicted.mean():.2f} in the mean, came out at "
        f"{100 * real.mean():.2f} (best {100 * real.max():.2f}); rank correlation {rank:.2f}"
    )


if __name__ == "__main__":
    main()
