#!/usr/bin/env python
"""The command line of the hyperparameter search: parse the arguments and call `search.cli`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rigsl.cli.arguments import Parser
from rigsl.console import run_command_line
from rigsl.redaction import redact_tracebacks

_EXAMPLES = """\
examples:
  python run_search.py                                    bundled MELD features, 15 to 25 minutes on two cores
  python run_search.py --time-budget 1h --seed 7          a longer search with another seed
  python run_search.py --trials 50 --gpus-per-trial 0.25  50 trials, four at a time on one GPU
  python run_search.py --features official --data-dir /data/meld
  python run_search.py --status                           what all studies are doing
  python run_search.py --resume meld-open-20260101-120000 --time-budget 20m
  python run_search.py --rerun runs/meld-open-20260101-120000/best
  python run_search.py --compare first-study second-study
"""


def parser() -> Parser:
    """The parser of the command line."""
    result = Parser(
        prog="run_search.py",
        description="Search the hyperparameters of RIGSL, test the best configuration once, and export it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_search_space(result)
    _add_budget(result)
    _add_method(result)
    _add_confirmation(result)
    _add_resources(result)
    _add_studies(result)
    _add_other_commands(result)
    return result


def _add_search_space(result: Parser) -> None:
    group = result.add_argument_group("search space and data")
    group.add_argument(
        "--dataset",
        default="MELD",
        metavar="NAME",
        help="MELD, IEMOCAP, or the name of a corpus file data/NAME.safetensors (default: MELD)",
    )
    group.add_argument(
        "--features",
        default="auto",
        help="feature set: open, official, or auto, official if its files are there (default: auto)",
    )
    group.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="folder of the corpora (default: data/ beside this file)",
    )
    group.add_argument(
        "--space",
        type=Path,
        metavar="FILE",
        help="search space, a TOML file (default: the dataset's in spaces/, or one derived from its size)",
    )
    group.add_argument(
        "--epochs", type=int, metavar="N", help="maximum epochs per trial (default: from the space)"
    )


def _add_budget(result: Parser) -> None:
    group = result.add_argument_group(
        "budget: the first limit that is reached ends the search; default: [budget] of the space"
    )
    group.add_argument("--trials", type=int, metavar="N", help="maximum number of trials")
    group.add_argument(
        "--time-budget", metavar="TIME", help="maximum wall time of the search: 90s, 10m, 1h30m"
    )
    group.add_argument(
        "--gpu-hours",
        type=float,
        metavar="HOURS",
        help="maximum GPU hours of all trials; half a GPU counts half",
    )
    group.add_argument(
        "--target", type=float, metavar="F1", help="stop at this validation weighted F1, for example 0.6"
    )
    group.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop after this many trials in a row without a new best score",
    )


def _add_method(result: Parser) -> None:
    group = result.add_argument_group("search method")
    group.add_argument(
        "--sampler",
        metavar="NAME",
        help="proposes configurations: gp (Gaussian process, default), tpe, cmaes, random, qmc, auto",
    )
    group.add_argument(
        "--scheduler",
        metavar="NAME",
        help="stops weak trials early: asha, hyperband, median, pbt or none (default: the space's)",
    )
    group.add_argument(
        "--validation",
        metavar="NAME",
        help="what trials are scored on: dev, or folds: dev and a fold of train, which they leave out "
        "(default: folds where scores on them are honest)",
    )
    group.add_argument(
        "--seed", type=int, metavar="N", help="random seed of the search and of every training (default: 0)"
    )
    group.add_argument(
        "--start-from",
        metavar="STUDY",
        help="warm start: begin with the trials of another study, of this corpus or another",
    )


def _add_confirmation(result: Parser) -> None:
    group = result.add_argument_group("confirmation after the search; default: [final] of the space")
    group.add_argument(
        "--finalists",
        type=int,
        metavar="K",
        help="number of best configurations that are trained again; 0: none (default: 8)",
    )
    group.add_argument(
        "--finalist-seeds",
        type=int,
        metavar="N",
        help="fresh seeds per finalist; the best mean score wins (default: 3)",
    )
    group.add_argument(
        "--folds",
        type=int,
        metavar="N",
        help="folds of train that finalists leave out in turn and are scored on; 0: they are scored on dev "
        "(default: 3, or 0 where the features know the labels of train)",
    )
    group.add_argument(
        "--teacher-weight",
        type=float,
        metavar="W",
        help="share of the teaching in the loss of the taught models; 0: nothing is taught (default: 0.6)",
    )
    group.add_argument(
        "--teacher-temperature",
        type=float,
        metavar="T",
        help="temperature of the probabilities that are taught (default: 1)",
    )
    group.add_argument(
        "--test-seeds",
        type=int,
        metavar="M",
        help="fresh seeds of winner and baseline for the test (default: 5)",
    )
    group.add_argument(
        "--protocol",
        metavar="NAME",
        help="validation (default), or paper: report the best test epoch, too (optimistic)",
    )
    group.add_argument(
        "--explain",
        action="store_const",
        const=True,
        help="train the path from the baseline to the winner, one change at a time, with the finals' seeds",
    )


def _add_resources(result: Parser) -> None:
    group = result.add_argument_group("resources")
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of concurrent trials (default: as many as the cores, GPUs and memory allow)",
    )
    group.add_argument(
        "--cpus-per-trial", type=int, metavar="N", help="CPU cores and threads per trial (default: 1)"
    )
    group.add_argument(
        "--gpus-per-trial",
        metavar="SHARE",
        help="share of a GPU per trial, for example 0.25; auto: from its memory and throughput",
    )
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="device of the trainings (default: auto, a GPU if there is one)",
    )
    group.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="address of a running Ray cluster: auto or HOST:PORT (default: start Ray on this machine)",
    )
    group.add_argument(
        "--force",
        action="store_true",
        default=None,
        help="compute in a precision that the device is not made for, such as bf16 on a processor without "
        "bfloat16 instructions",
    )


def _add_studies(result: Parser) -> None:
    group = result.add_argument_group("studies and where they are stored")
    group.add_argument(
        "--study", metavar="NAME", help="name of the new study (default: dataset, features and time)"
    )
    group.add_argument(
        "--resume",
        metavar="NAME",
        help="continue a study; what it has used already counts towards its budget",
    )
    group.add_argument(
        "--runs-dir",
        type=Path,
        default=Path("runs"),
        metavar="FOLDER",
        help="folder of all studies (default: runs)",
    )
    group.add_argument(
        "--storage",
        metavar="URL",
        help="database of the record, an Optuna storage URL (default: a file in the run folder)",
    )
    group.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI of the environment, or sqlite:///mlflow.db)",
    )


def _add_other_commands(result: Parser) -> None:
    group = result.add_argument_group("other commands, instead of a search")
    group.add_argument(
        "--status",
        nargs="?",
        const="",
        metavar="NAME",
        help="print the state of a study; without NAME: of all",
    )
    group.add_argument("--report", metavar="NAME", help="write report.html of a study again")
    group.add_argument(
        "--compare", nargs="+", metavar="NAME", help="compare studies: tables, paired tests and a page"
    )
    group.add_argument(
        "--rerun",
        type=Path,
        metavar="FOLDER",
        help="train an exported result (best/) again and compare the scores",
    )
    group.add_argument(
        "--what",
        choices=("configuration", "taught", "average"),
        help="with --rerun: which answer is trained again (default: configuration)",
    )
    group.add_argument(
        "--sync",
        metavar="NAME",
        help="send to MLflow what could not be sent during the study, and register its model",
    )
    group.add_argument(
        "--promote",
        action="store_const",
        const=True,
        help="with --sync: move the registry's aliases best, taught and average to this study's models, "
        "whatever their scores",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_command_line(lambda: _run(arguments))


def _run(arguments: list[str] | None) -> int:
    options = vars(parser().parse_args(arguments))
    # Imported here: torch and Ray take seconds to import, and --help should not need them.
    from rigsl.errors import UserError, error_line
    from rigsl.interruption import exit_code
    from search.cli import run_command

    try:
        return run_command(options)
    except (UserError, OSError) as error:
        print(error_line(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        return exit_code(error)


if __name__ == "__main__":
    redact_tracebacks()
    sys.exit(main())
