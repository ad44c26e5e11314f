#!/usr/bin/env python
"""Search the hyperparameters of RIGSL for a dataset: parse, call `search`, print where things are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rigsl.cli.arguments import Parser

_EXAMPLES = """\
examples:
  python run_search.py                                    the bundled MELD features, 8 minutes on two cores
  python run_search.py --time-budget 1h --seed 7          longer, with another seed
  python run_search.py --trials 50 --gpus-per-trial 0.25  50 trials, four at a time on one GPU
  python run_search.py --features official --data-dir /data/meld
  python run_search.py --status                           what all studies are doing
  python run_search.py --resume meld-open-20260101-120000 --time-budget 20m
  python run_search.py --rerun runs/meld-open-20260101-120000/best
  python run_search.py --compare first-study second-study
"""


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="run_search.py",
        description="Search the hyperparameters of RIGSL, test the best configuration once, and export it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = made.add_argument_group("what to search")
    what.add_argument("--dataset", default="MELD", help="name of the corpus (default: MELD)")
    what.add_argument(
        "--features", default="auto", help="open, official, or auto: official where they are (default)"
    )
    what.add_argument(
        "--data-dir", type=Path, metavar="FOLDER", help="where corpora lie (default: data/ beside this file)"
    )
    what.add_argument(
        "--space", type=Path, metavar="FILE", help="search space (default: the dataset's in spaces/)"
    )
    what.add_argument("--epochs", type=int, metavar="N", help="most epochs of a trial (default: the space's)")
    ends = made.add_argument_group("when to end: the first limit reached; default: the [budget] of the space")
    ends.add_argument("--trials", type=int, metavar="N", help="number of trials")
    ends.add_argument("--time-budget", metavar="TIME", help="time of the search: 90s, 10m, 1h30m")
    ends.add_argument(
        "--gpu-hours",
        type=float,
        metavar="HOURS",
        help="hours of GPUs that trials hold; half a GPU counts half",
    )
    ends.add_argument(
        "--target", type=float, metavar="F1", help="weighted F1 on validation that is enough, say 0.6"
    )
    ends.add_argument("--patience", type=int, metavar="N", help="trials without a new best")
    how = made.add_argument_group("how to search")
    how.add_argument("--sampler", metavar="NAME", help="gp (default), tpe, joint, cmaes, random, qmc or auto")
    how.add_argument(
        "--scheduler", metavar="NAME", help="asha, hyperband, median, pbt or none (default: the space's)"
    )
    how.add_argument(
        "--seed", type=int, metavar="N", help="seed of the search and of every training (default: 0)"
    )
    how.add_argument(
        "--start-from", metavar="STUDY", help="begin with what another study found, on this corpus or another"
    )
    final = made.add_argument_group("how to confirm what was found; default: the [final] of the space")
    final.add_argument(
        "--finalists", type=int, metavar="K", help="best configurations that run again; 0: none (default: 5)"
    )
    final.add_argument(
        "--finalist-seeds", type=int, metavar="N", help="new seeds of each; the best mean wins (default: 3)"
    )
    final.add_argument(
        "--test-seeds",
        type=int,
        metavar="M",
        help="new seeds of winner and baseline for the test (default: 5)",
    )
    final.add_argument(
        "--protocol", metavar="NAME", help="validation (default), or paper: the best test epoch beside it"
    )
    where = made.add_argument_group("where to run")
    where.add_argument(
        "--workers", type=int, metavar="N", help="trials at a time (default: what the machine carries)"
    )
    where.add_argument(
        "--cpus-per-trial", type=int, metavar="N", help="cores and threads of a trial (default: 1)"
    )
    where.add_argument(
        "--gpus-per-trial", metavar="SHARE", help="share of a GPU for a trial, say 0.25; auto: by its memory"
    )
    where.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="default: auto, a GPU where there is one"
    )
    where.add_argument(
        "--ray-address", metavar="ADDRESS", help="a Ray cluster: auto or HOST:PORT (default: Ray of its own)"
    )
    kept = made.add_argument_group("what is kept")
    kept.add_argument(
        "--study", metavar="NAME", help="name of the study (default: dataset, features and time)"
    )
    kept.add_argument(
        "--resume", metavar="NAME", help="go on with a study; budgets count what it has used already"
    )
    kept.add_argument(
        "--status", nargs="?", const="", metavar="NAME", help="print how a study stands; without NAME: all"
    )
    kept.add_argument("--report", metavar="NAME", help="write a study's report.html again")
    kept.add_argument(
        "--compare", nargs="+", metavar="NAME", help="studies side by side, with the same statistics"
    )
    kept.add_argument("--sync", metavar="NAME", help="send MLflow what it could not be sent during a study")
    kept.add_argument(
        "--rerun", type=Path, metavar="FOLDER", help="train an exported best/ again and compare scores"
    )
    kept.add_argument("--runs-dir", type=Path, default=Path("runs"), metavar="FOLDER", help="default: runs")
    kept.add_argument(
        "--storage", metavar="URL", help="database of the record, as Optuna takes it (default: a file)"
    )
    kept.add_argument("--tracking-uri", metavar="URI", help="MLflow (default: sqlite:///mlflow.db)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = vars(parser().parse_args(arguments))
    # Only now: torch and Ray take seconds to import, --help should not.
    from rigsl.errors import UserError
    from search.cli import run_command

    try:
        return run_command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
