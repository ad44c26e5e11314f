"""The command: it can be interrupted, and the same command goes on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import optuna

from benchmarks.selection.pool import dev_score, known_configurations, proposals, random_configurations
from benchmarks.selection.quarters import WHOLE, parts
from benchmarks.selection.trainings import SelectionTraining, train
from rigsl.data.open.processes import in_processes


def run(jobs: Sequence[SelectionTraining], processes: int, name: str) -> None:
    """Run the `jobs` that are not finished."""
    missing = [{"job": job} for job in jobs if not job.path.exists()]
    if missing:
        in_processes(train, missing, processes, name, len(missing))


def measure(configurations: int, best: int, processes: int) -> None:
    """All trainings of the tables.

    Args:
        configurations: on all of train.
        best: of these on dev, with further seeds and on the parts of train.
        processes: trainings at the same time.
    """
    known = random_configurations()[:configurations]
    run([SelectionTraining(*item, WHOLE, 0) for item in enumerate(known)], processes, "random configurations")
    while len(known) < configurations:
        known += proposals(known, len(known))
        jobs = [SelectionTraining(*item, WHOLE, 0) for item in enumerate(known)]
        run(jobs, processes, f"{len(known)} of {configurations} configurations")
    known = known_configurations()
    chosen = sorted(range(len(known)), key=lambda number: -dev_score(number))[:best]
    for size, seed in ((3, 0), (2, 0), (4, 1), (3, 1)):
        jobs = [
            SelectionTraining(number, known[number], part, seed) for number in chosen for part in parts(size)
        ]
        run(jobs, processes, f"{size} quarters of train, seed {seed}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description=__doc__)
    parser.add_argument("--configurations", type=int, default=100, help="on all of train (default: 100)")
    parser.add_argument("--best", type=int, default=60, help="of these, on parts of train (default: 60)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one per core")
    args = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    measure(args.configurations, args.best, args.processes)
    return 0
