"""What a search prints before it starts and after its end: the plan, the scores, where everything is."""

from __future__ import annotations

import contextlib
import signal
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from rigsl.data.corpus import SPLITS
from rigsl.data.source import features_in_words
from rigsl.errors import UserError
from rigsl.wording import counted, p_value, percent
from search.confirm.final_record import read_final_record
from search.export.environment import program
from search.plan.plan import Plan
from search.record import record
from search.report.format import span, spread
from search.run_folder import BEST, REPORT

if TYPE_CHECKING:
    from search.results import Outcome


def print_plan(plan: Plan, console: Console) -> None:
    """What the search is about to do, before anything is written."""
    corpus = plan.corpus
    lengths = corpus.lengths
    parts = {split: corpus.dialogues(split) for split in SPLITS}
    sizes = ", ".join(f"{split} {rows.size} / {int(lengths[rows].sum())}" for split, rows in parts.items())
    ends = ""
    if plan.budget.minutes is not None:
        left = max(0.0, 60 * plan.budget.minutes - _used(plan))
        ends = f"; ends by {time.strftime('%H:%M:%S', time.localtime(time.time() + left))}"
    rows = {
        "study": f"{plan.name}{' (resumed)' if plan.resumed else ''}",
        "corpus": f"{corpus.name} (dialogues / utterances: {sizes})",
        "data": features_in_words(corpus, plan.features),
        "space": f"{shown(plan.space.path)}: {len(plan.space.parameters)} parameters, {plan.epochs} epochs",
        "search": f"{plan.sampler}, {plan.schedule.name}, seed {plan.seed}",
        "workers": plan.workers.describe(),
        "budget": plan.budget.describe() + ends,
        "final": plan.final.describe(),
    }
    for name, text in rows.items():
        console.print(f"{name:8s}{text}")


def _used(plan: Plan) -> float:
    """Seconds of the budget that earlier runs of the study have used."""
    if not plan.resumed:
        return 0.0
    with contextlib.suppress(UserError):  # killed before its record was made
        return record.seconds(record.read_record(plan.folder, plan.storage))
    return 0.0


def print_outcome(outcome: Outcome, data_dir: Path | None, console: Console) -> int:
    """How the search ended, where its results are and what to run next; returns the exit code."""
    plan, folder = outcome.plan, shown(outcome.plan.folder)
    python = program("python")
    if outcome.tracking_problem:
        console.print(f"warning: MLflow is not up to date: {outcome.tracking_problem}; send it later with:")
        console.print(f"  {python} run_search.py --sync {plan.name}{_runs_dir(plan)}")
    data = "" if data_dir is None else f" --data-dir {data_dir}"
    resume = f"{python} run_search.py --resume {plan.name}{_runs_dir(plan)}{data}"
    if outcome.interrupted is not None:
        console.print(f"interrupted; all finished trials are kept, running ones go on with:\n  {resume}")
        return 128 + outcome.interrupted if outcome.interrupted != signal.SIGINT else 130
    if outcome.exported is None:
        console.print("no trial finished an epoch; see the reasons in " + str(folder / REPORT))
        return 1
    _print_scores(outcome, console)
    registered = outcome.registered
    if registered is not None and registered.problem:
        console.print(f"warning: {registered.problem}")
    model = [("model", registered.uri)] if registered is not None and registered.version else []
    for what, how in (
        ("report", str(folder / REPORT)),
        ("result", f"{folder / BEST} (official_command.txt: the same for the official train.py)"),
        *_mlflow_lines(outcome),
        *model,
        ("again", f"{python} run_search.py --rerun {folder / BEST}{data}"),
        ("go on", f"{resume} --time-budget 30m"),
    ):
        console.print(f"{what:8s}{how}")
    return 0


def _mlflow_lines(outcome: Outcome) -> list[tuple[str, str]]:
    """Where MLflow shows the study: the page of a server, or the command that starts one."""
    uri = outcome.plan.tracking_uri
    if uri.startswith("http"):
        return [("runs", uri.rstrip("/") + outcome.tracking_page)]
    page = f"http://127.0.0.1:5000{outcome.tracking_page}"
    return [("runs", f"{program('mlflow')} ui --backend-store-uri {uri}"), ("", page)]


def _print_scores(outcome: Outcome, console: Console) -> None:
    """Winner against baseline over their seeds, and the checkpoint that is kept; in one table."""
    exported, final = outcome.exported, read_final_record(outcome.plan.folder)
    assert exported is not None
    assert final.test is not None
    test, name = final.test, f"trial {exported.metrics['trial']}"
    table = Table("weighted F1", title=f"{name} won", title_justify="left")
    for column in ("validation", "test", "95 % interval"):
        table.add_column(column, justify="right")
    for who, label in (("winner", name), ("baseline", "baseline")):
        if (side := test.side(who)) is not None and len(test.seeds) > 1:
            validation = percent(statistics.mean(test.validation[who]))
            count = len(side.weighted_f1.values)
            reach = "" if side.interval is None else span(side.interval).removesuffix(" %")
            table.add_row(f"{label}, {counted(count, 'seed')}", validation, spread(side.weighted_f1), reach)
    kept = (100 * part["weighted_f1"] for part in (exported.validation, exported.test))
    table.add_row(
        f"the checkpoint in best/ (seed {exported.metrics['seed']})", *(f"{one:.2f} %" for one in kept), ""
    )
    console.print(table)
    if test.difference is not None and (difference := test.difference.bootstrap) is not None:
        gap = difference.interval
        console.print(
            f"winner less baseline on test: {100 * gap.value:+.2f} points (95 %: {100 * gap.low:+.2f} to "
            f"{100 * gap.high:+.2f}; paired bootstrap, {p_value(difference.p)})"
        )
    if final.paper is not None and final.paper.winner is not None:
        console.print(f"best test epoch (selected on test, optimistic): {percent(final.paper.winner.mean)}")
    if len(final.openings) > 1:
        console.print(f"warning: test was opened {len(final.openings)} times by this study; see final.json")
    counts = ", ".join(f"{count} {name}" for name, count in exported.metrics["trials"].items())
    console.print(f"trials: {counts}; {exported.metrics['ending']}")


def shown(path: Path) -> Path:
    """A path as short as possible: relative to the working directory where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _runs_dir(plan: Plan) -> str:
    runs = shown(plan.folder.parent)
    return "" if runs == Path("runs") else f" --runs-dir {runs}"
