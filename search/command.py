"""What ``run_search.py`` does with parsed options: plan, run, and say what came out."""

from __future__ import annotations

import contextlib
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from rigsl.data.corpus import SPLITS
from rigsl.errors import UserError
from search import record
from search.budget import minutes_in_words, read_minutes
from search.corpora import features_in_words
from search.environment import program
from search.final_test import read_final_record
from search.plan import Plan
from search.prepare import prepare
from search.resume import study_folder
from search.status import print_status, print_studies
from search.wishes import Wishes, read_share

if TYPE_CHECKING:
    from search.study import Outcome

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

    _print_plan(plan, console)
    outcome = run(plan)
    plan = outcome.plan
    shown = _shown(plan.folder)
    python, mlflow = program("python"), program("mlflow")
    if outcome.tracking_problem:
        console.print(f"warning: MLflow is not up to date: {outcome.tracking_problem}; send it later with:")
        console.print(f"  {python} run_search.py --sync {plan.name}{_runs_dir(plan)}")
    data = "" if data_dir is None else f" --data-dir {data_dir}"
    resume = f"{python} run_search.py --resume {plan.name}{_runs_dir(plan)}{data}"
    if outcome.interrupted is not None:
        console.print(f"interrupted; all finished trials are kept, running ones go on with:\n  {resume}")
        return 128 + outcome.interrupted if outcome.interrupted != signal.SIGINT else 130
    if outcome.exported is None:
        console.print("no trial finished an epoch; see the reasons in " + str(shown / "report.html"))
        return 1
    _print_scores(outcome, console)
    uri = plan.tracking_uri
    if uri.startswith("http"):
        runs = [("runs", uri.rstrip("/") + outcome.tracking_page)]
    else:
        page = f"http://127.0.0.1:5000{outcome.tracking_page}"
        runs = [("runs", f"{mlflow} ui --backend-store-uri {uri}"), ("", page)]
    registered = outcome.registered
    if registered is not None and registered.problem:
        console.print(f"warning: {registered.problem}")
    model = [("model", registered.uri)] if registered is not None and registered.version else []
    for what, how in (
        ("report", str(shown / "report.html")),
        ("result", f"{shown / 'best'} (official_command.txt: the same for the official train.py)"),
        *runs,
        *model,
        ("again", f"{python} run_search.py --rerun {shown / 'best'}{data}"),
        ("go on", f"{resume} --time-budget 30m"),
    ):
        console.print(f"{what:8s}{how}")
    return 0


def _print_plan(plan: Plan, console: Console) -> None:
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
        "space": f"{_shown(plan.space.path)}: {len(plan.space.parameters)} parameters, {plan.epochs} epochs",
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


def _print_scores(outcome: Outcome, console: Console) -> None:
    """Winner against baseline over their seeds, and the checkpoint that is kept; in one table."""
    exported, final = outcome.exported, read_final_record(outcome.plan.folder)
    assert exported is not None
    test, name = final["test"], f"trial {exported.metrics['trial']}"
    table = Table("weighted F1", title=f"{name} won", title_justify="left")
    for column in ("validation", "test", "95 % interval"):
        table.add_column(column, justify="right")
    for who, label in (("winner", name), ("baseline", "baseline")):
        if (side := test[who]) is not None and len(test["seeds"]) > 1:
            scores, interval = side["weighted_f1"], side["interval"]
            spread = f"{100 * scores['mean']:.2f} ± {100 * scores['std']:.2f} %"
            reach = f"{100 * interval['low']:.2f} to {100 * interval['high']:.2f}" if interval else ""
            validation = 100 * statistics.mean(test["validation"][who])
            table.add_row(f"{label}, {len(scores['values'])} seeds", f"{validation:.2f} %", spread, reach)
    kept = (100 * part["weighted_f1"] for part in (exported.validation, exported.test))
    table.add_row(
        f"the checkpoint in best/ (seed {exported.metrics['seed']})", *(f"{one:.2f} %" for one in kept), ""
    )
    console.print(table)
    if difference := (test["difference"] or {}).get("bootstrap"):
        gap, low, high = (100 * difference["interval"][name] for name in ("value", "low", "high"))
        console.print(
            f"winner less baseline on test: {gap:+.2f} points (95 %: {low:+.2f} to {high:+.2f}; "
            f"paired bootstrap, {_p(difference['p'])})"
        )
    if (paper := final.get("paper")) and paper["winner"]:
        console.print(
            f"best test epoch (selected on test, optimistic): {100 * paper['winner']['mean']:.2f} %"
        )
    if len(final["openings"]) > 1:
        console.print(
            f"warning: test was opened {len(final['openings'])} times by this study; see final.json"
        )
    counts = ", ".join(f"{count} {name}" for name, count in exported.metrics["trials"].items())
    console.print(f"trials: {counts}; {exported.metrics['ending']}")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _report(folder: Path, storage: str | None, console: Console) -> int:
    from search.report import rebuild

    console.print(f"report  {_shown(rebuild(folder, storage))}")
    return 0


def _compare(runs: Path, names: Sequence[str], console: Console) -> int:
    from search.compare import compare

    folders = [study_folder(runs, name, "compare") for name in names]
    stem = "-".join(folder.name for folder in folders)[:100]
    out = compare(folders, runs.resolve() / f"compare-{stem}.html", console)
    console.print(f"report  {_shown(out)}")
    return 0


def _sync(folder: Path, wishes: Wishes, console: Console) -> int:
    from search.sync import sync

    done = sync(folder, wishes.tracking_uri, wishes.storage, console.print)
    if done.problem is not None:
        console.print(f"not everything was sent: {done.problem}; try again later")
        return 1
    console.print(f"{done.tracking_uri} is up to date: {done.runs} runs, {done.metrics} metrics were sent")
    return 0


def _rerun(folder: Path, data_dir: Path | None, console: Console) -> int:
    from search.rerun import rerun

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


def _shown(path: Path) -> Path:
    """A path as short as possible."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _runs_dir(plan: Plan) -> str:
    runs = _shown(plan.folder.parent)
    return "" if runs == Path("runs") else f" --runs-dir {runs}"
