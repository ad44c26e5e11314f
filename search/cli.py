"""Dispatch of ``run_search.py``: run a search, or one of the other modes, for the parsed arguments."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rigsl.console import make_console
from rigsl.errors import UserError
from rigsl.files import cannot_write
from rigsl.shell import short_path
from rigsl.wording import counted
from search.command_lines import runs_dir_option, search_command
from search.confirm.answers import CONFIGURATION
from search.plan.options import SearchOptions, read_share, study_folder
from search.run_folder import AVERAGE, REPORT, TAUGHT
from search.space.budget import minutes_in_words, read_minutes
from search.terminal.status import print_status, print_studies
from search.terminal.summary import model_lines, print_outcome, print_plan

#: Options that do something other than a search -> the options that can be combined with them.
MODES = {
    "rerun": {"data_dir", "what", "force"},
    "status": {"storage"},
    "report": {"storage"},
    "compare": set[str](),
    "sync": {"storage", "tracking_uri", "data_dir", "promote"},
}
#: What --rerun can train again -> its folder in ``best/``.
FOLDERS = {None: "", CONFIGURATION: "", TAUGHT: TAUGHT, AVERAGE: AVERAGE}
#: Options with a default value: they may stand beside every mode.
ALWAYS_GIVEN = {"dataset", "features", "runs_dir"}


def run_command(arguments: dict[str, Any]) -> int:
    """Run or resume a study, or run one of MODES; returns the exit code.

    Raises:
        UserError: a mistake of the user; nothing has been written.
    """
    console = make_console()
    given = {name for name, value in arguments.items() if value is not None}
    mode = next((name for name in MODES if name in given), None)
    if "what" in given and mode != "rerun":
        raise UserError("--what: says what --rerun trains again; give --rerun FOLDER, too")
    if "promote" in given and mode != "sync":
        raise UserError("--promote: moves MLflow's aliases to a study's models; give --sync STUDY, too")
    options = _search_options(arguments)
    if mode is None:
        return _search(options, console)
    if extra := given - {mode} - MODES[mode] - ALWAYS_GIVEN:
        raise UserError(f"--{mode}: cannot be combined with --{min(extra).replace('_', '-')}")
    if mode == "rerun":
        return _rerun(arguments["rerun"] / FOLDERS[arguments["what"]], options, console)
    if mode == "compare":
        return _compare(options.runs_dir, arguments["compare"], console)
    if mode == "status" and not arguments["status"]:
        print_studies(options.runs_dir, console)
        return 0
    folder = study_folder(options.runs_dir, arguments[mode], mode)
    if mode == "report":
        return _report(folder, options.storage, console)
    if mode == "sync":
        return _sync(folder, options, bool(arguments["promote"]), console)
    print_status(folder, console, options.storage)
    return 0


def _search_options(arguments: Mapping[str, Any]) -> SearchOptions:
    """The options of a search, with times and shares as numbers."""
    time_budget, share = arguments["time_budget"], arguments["gpus_per_trial"]
    other = {*MODES, "time_budget", "gpus_per_trial", "what", "promote"}
    rest = {name: value for name, value in arguments.items() if name not in other}
    minutes = None if time_budget is None else read_minutes(time_budget)
    gpus = None if share is None else read_share(share)
    return SearchOptions(**rest, minutes=minutes, gpus_per_trial=gpus)


def _search(options: SearchOptions, console: Console) -> int:
    # Imported here, in this order: PyTorch, which the plan needs, and Ray Tune take a second or more each. A
    # private Ray starts in between: its workers import PyTorch while this process imports Ray Tune.
    from search.plan.new_study import prepare

    plan = prepare(options)
    print_plan(plan, console)
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "0")  # of Ray Train, which Ray Tune imports, only a part
    from search.execution.ray_session import started_early

    with started_early(plan.workers, plan.corpus_bytes, plan.ray_address) as early:
        from search.study import run

        if early.signals.signal is not None:
            console.print("stopped before the search has begun")
            return 128 + early.signals.signal
        outcome = run(plan, early=early)
    try:
        return print_outcome(outcome, options.data_dir, console)
    except OSError as error:
        look = search_command("--status", plan.name, *runs_dir_option(plan.folder.parent))
        raise UserError(
            f"{plan.folder}: cannot be read ({error.strerror}); the study has ended, and is shown by: {look}"
        ) from None


def _report(folder: Path, storage: str | None, console: Console) -> int:
    from search.report.write import rebuild

    try:
        page = rebuild(folder, storage)
    except OSError as error:
        raise cannot_write(folder / REPORT, error) from None
    console.print(f"report  {short_path(page)}")
    return 0


def _compare(runs: Path, names: Sequence[str], console: Console) -> int:
    from search.report.comparison import compare_studies
    from search.report.comparison_page import write_comparison  # plotly takes a second to import
    from search.report.data import sound_files
    from search.terminal.comparison import print_comparison

    folders = [study_folder(runs, name, "compare") for name in names]
    stem = "-".join(folder.name for folder in folders)[:100]
    path = runs.resolve() / f"compare-{stem}.html"
    try:
        with sound_files(*folders):
            comparison = compare_studies(folders)
            print_comparison(comparison, console)
            page = write_comparison(comparison, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    console.print(f"report  {short_path(page)}")
    return 0


def _sync(folder: Path, options: SearchOptions, promote: bool, console: Console) -> int:
    from search.tracking.sync import sync

    result = sync(
        folder,
        options.tracking_uri,
        options.storage,
        console.print,
        data_dir=options.data_dir,
        promote=promote,
    )
    if result.problem is not None:
        console.print(f"not everything was sent: {result.problem}; try again later")
        return 1
    sent = f"{counted(result.runs, 'run')}, {counted(result.metrics, 'value')} of metrics"
    console.print(f"{result.tracking_uri} is up to date; sent: {sent}")
    for title, text in [] if result.registered is None else model_lines(result.registered):
        console.print(f"{title:8s}{text}")
    if result.registered is not None and result.registered.problem:
        console.print(f"warning: {result.registered.problem}")
        return 1
    return 0


def _rerun(folder: Path, options: SearchOptions, console: Console) -> int:
    from search.export.rerun import rerun

    start = time.monotonic()
    console.print(f"training {folder} again")

    def print_epoch(report: Any) -> None:
        score, best = report.validation.weighted_f1, report.best_weighted_f1
        console.print(
            f"epoch {report.epoch:3d}  weighted F1 {score:.4f}  best {best:.4f}  {report.seconds:.1f} s"
        )

    result = rerun(folder, data_dir=options.data_dir, on_epoch=print_epoch, force=bool(options.force))
    table = Table("split", "score", "recorded", "new", "equal")
    for split, name, recorded, new in result.rows:
        table.add_row(split, name, f"{recorded:.6f}", f"{new:.6f}", "yes" if recorded == new else "no")
    console.print(table)
    for name, (recorded, here) in result.differences.items():
        console.print(f"{name} differs: recorded on {recorded}, here {here}")
    took = minutes_in_words((time.monotonic() - start) / 60)
    if result.equal:
        console.print(f"all scores are equal to the last digit ({took})")
        return 0
    if result.reproducible:
        console.print(f"the scores are NOT equal, although the machine is the same ({took})")
        return 1
    console.print(f"the scores are not equal, which can happen on another machine or on CUDA ({took})")
    return 0
