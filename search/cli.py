"""What ``run_search.py`` does with parsed options: a search, or one of the other modes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rigsl.errors import UserError
from search.plan.new_study import prepare
from search.plan.options import Wishes, read_share
from search.plan.plan import Plan
from search.plan.resume import study_folder
from search.space.budget import minutes_in_words, read_minutes
from search.terminal.status import print_status, print_studies
from search.terminal.summary import print_outcome, print_plan, shown

#: Options that do something other than a search -> the options that mean something beside them.
MODES = {
    "rerun": {"data_dir"},
    "status": {"storage"},
    "report": {"storage"},
    "compare": set[str](),
    "sync": {"storage", "tracking_uri"},
}
#: Options that always have a value.
ALWAYS = {"dataset", "features", "runs_dir"}


def run_command(options: dict[str, Any]) -> int:
    """Run or resume a study, or do what one of MODES says; returns the exit code.

    Raises:
        UserError: a mistake of the user; nothing has been written.
    """
    console = Console(highlight=False, soft_wrap=True)
    given = {name for name, value in options.items() if value is not None}
    wishes = _wishes(options)
    mode = next((name for name in MODES if name in given), None)
    if mode is None:
        return _search(prepare(wishes), wishes.data_dir, console)
    if extra := given - {mode} - MODES[mode] - ALWAYS:
        raise UserError(f"--{mode}: cannot be combined with --{min(extra).replace('_', '-')}")
    if mode == "rerun":
        return _rerun(options["rerun"], wishes.data_dir, console)
    if mode == "report":
        return _report(study_folder(wishes.runs_dir, options["report"], "report"), wishes.storage, console)
    if mode == "compare":
        return _compare(wishes.runs_dir, options["compare"], console)
    if mode == "sync":
        return _sync(study_folder(wishes.runs_dir, options["sync"], "sync"), wishes, console)
    if options["status"]:
        print_status(study_folder(wishes.runs_dir, options["status"], "status"), console, wishes.storage)
    else:
        print_studies(wishes.runs_dir, console)
    return 0


def _wishes(options: Mapping[str, Any]) -> Wishes:
    """The options of a search, its times and shares read."""
    time_budget, share = options["time_budget"], options["gpus_per_trial"]
    rest = {name: options[name] for name in options if name not in {*MODES, "time_budget", "gpus_per_trial"}}
    minutes = None if time_budget is None else read_minutes(time_budget)
    return Wishes(**rest, minutes=minutes, gpus_per_trial=None if share is None else read_share(share))


def _search(plan: Plan, data_dir: Path | None, console: Console) -> int:
    from search.study import run

    print_plan(plan, console)
    return print_outcome(run(plan), data_dir, console)


def _report(folder: Path, storage: str | None, console: Console) -> int:
    from search.report.write import rebuild

    console.print(f"report  {shown(rebuild(folder, storage))}")
    return 0


def _compare(runs: Path, names: Sequence[str], console: Console) -> int:
    from search.report.comparison import compared
    from search.report.comparison_page import write_comparison  # plotly takes a second to import
    from search.terminal.comparison import print_comparison

    folders = [study_folder(runs, name, "compare") for name in names]
    stem = "-".join(folder.name for folder in folders)[:100]
    found = compared(folders)
    print_comparison(found, console)
    out = write_comparison(found, runs.resolve() / f"compare-{stem}.html")
    console.print(f"report  {shown(out)}")
    return 0


def _sync(folder: Path, wishes: Wishes, console: Console) -> int:
    from search.tracking.sync import sync

    done = sync(folder, wishes.tracking_uri, wishes.storage, console.print)
    if done.problem is not None:
        console.print(f"not everything was sent: {done.problem}; try again later")
        return 1
    console.print(f"{done.tracking_uri} is up to date: {done.runs} runs, {done.metrics} metrics were sent")
    return 0


def _rerun(folder: Path, data_dir: Path | None, console: Console) -> int:
    from search.export.rerun import rerun

    start = time.monotonic()
    console.print(f"training {folder} again")

    def show(report: Any) -> None:
        score, best = report.validation.weighted_f1, report.best_weighted_f1
        console.print(
            f"epoch {report.epoch:3d}  weighted F1 {score:.4f}  best {best:.4f}  {report.seconds:.1f} s"
        )

    found = rerun(folder, data_dir=data_dir, on_epoch=show)
    table = Table("split", "score", "recorded", "new", "equal")
    for split, name, recorded, new in found.rows:
        table.add_row(split, name, f"{recorded:.6f}", f"{new:.6f}", "yes" if recorded == new else "no")
    console.print(table)
    for name, (recorded, here) in found.differences.items():
        console.print(f"{name} differs: recorded on {recorded}, here {here}")
    took = minutes_in_words((time.monotonic() - start) / 60)
    if found.equal:
        console.print(f"equal to the last digit ({took})")
        return 0
    if found.reproducible:
        console.print(f"NOT equal, although the machine is the same ({took})")
        return 1
    console.print(f"not equal, as can be on another setup or on CUDA ({took})")
    return 0
