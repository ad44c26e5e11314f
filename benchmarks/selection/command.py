"""The command: make the trainings, or judge the rules on the committed tables.

The trainings can be interrupted; the same command goes on where ``runs/selection`` has their files.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import optuna

from benchmarks.selection.page import page
from benchmarks.selection.pool import dev_score, known_configurations, proposals, random_configurations
from benchmarks.selection.quarters import WHOLE, parts
from benchmarks.selection.rules import NEEDED, PSEUDO_TESTS, TEACHERS, ranked
from benchmarks.selection.tables import FOLDER, Measured, write_tables
from benchmarks.selection.teaching import TEACHINGS, teacher
from benchmarks.selection.trainings import SelectionTraining, train
from rigsl.data.open.processes import in_processes
from rigsl.errors import UserError

#: Configurations that are taught on every pseudo-test: the best on its folds.
TAUGHT = 2


def run(jobs: Sequence[SelectionTraining], processes: int, name: str) -> None:
    """Run the `jobs` that are not finished."""
    missing = [{"job": job} for job in jobs if not job.path.exists()]
    if missing:
        in_processes(train, missing, processes, name, len(missing))


def measure(configurations: int, best: int, processes: int) -> None:
    """All trainings of the tables but the taught ones.

    Args:
        configurations: on all of train.
        best: of these on dev, on the parts of train, and with a second seed on all of it.
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
    jobs = [
        SelectionTraining(number, known[number], part, 0)
        for number in chosen
        for part in (*parts(3), *parts(2))
    ]
    run(jobs, processes, f"the best {best} on parts of train")
    run([SelectionTraining(number, known[number], WHOLE, 1) for number in chosen], processes, "a second seed")


def measure_taught(processes: int) -> None:
    """The taught trainings: on every pseudo-test the best on its folds, with every weight and temperature."""
    measured, known = Measured.read(), known_configurations()
    numbers = measured.complete(NEEDED)
    jobs = [
        SelectionTraining(number, known[number], test.train, 0, teacher(measured, test, order, *teaching))
        for test in PSEUDO_TESTS
        for order in [ranked(measured, test, numbers)[:TEACHERS]]
        for number in order[:TAUGHT]
        for teaching in TEACHINGS
    ]
    run(jobs, processes, "taught trainings")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, or print what the tables say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="make the trainings that are missing")
    parser.add_argument("--configurations", type=int, default=150, help="on all of train (default: 150)")
    parser.add_argument("--best", type=int, default=60, help="of these, on parts of train (default: 60)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one per core")
    args = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if args.measure:
        measure(args.configurations, args.best, args.processes)
        write_tables()
        measure_taught(args.processes)
        print(
            f"{write_tables()} trainings in the tables of {FOLDER.name}; next: python -m benchmarks.selection"
        )
        return 0
    try:
        print(page(Measured.read()))
    except UserError as error:
        parser.error(f"{error}; make the tables with --measure")
    return 0
