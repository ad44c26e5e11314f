"""The plan of a search before it starts, and its result afterwards: scores, files, next commands."""

from __future__ import annotations

import contextlib
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from rigsl.data.corpus import SPLITS
from rigsl.data.source import features_in_words
from rigsl.errors import UserError
from rigsl.official.names import official_dataset
from rigsl.redaction import redacted
from rigsl.shell import option, pasteable, program, short_path
from rigsl.wording import counted, p_value, percent, points
from search.command_lines import runs_dir_option, search_command
from search.confirm.answers import CONFIGURATION, answers_of, fixed_before_test
from search.confirm.final_record import TestRecord, read_final_record
from search.plan.plan import Plan
from search.record import record
from search.record.snapshot import take_snapshot
from search.report.format import span, spread
from search.run_folder import BEST, FINAL, OFFICIAL, REPORT, SPACE
from search.samplers.registry import priors_in_words
from search.space.budget import Spent
from search.space.extension import extended, extending_options
from search.space.origin import origin
from search.terminal.answers import difference_lines
from search.terminal.time_left import ending_time
from search.terminal.trust import explanation_lines, trust_lines

if TYPE_CHECKING:
    from search.results import Outcome
    from search.tracking.registry import Registration


def print_plan(plan: Plan, console: Console) -> None:
    """Print what the search is about to do, before anything is written."""
    corpus = plan.corpus
    dialogues = {split: corpus.dialogues(split) for split in SPLITS}
    sizes = ", ".join(
        f"{split} {indices.size} / {int(corpus.lengths[indices].sum())}"
        for split, indices in dialogues.items()
    )
    spent = _spent(plan)
    end = ending_time(plan.budget, spent.seconds, spent.scored)
    parameters, epochs = counted(len(plan.space.parameters), "parameter"), counted(plan.epochs, "epoch")
    rows = {
        "study": f"{plan.name}{' (resumed)' if plan.resumed else ''}",
        "corpus": f"{corpus.name} (dialogues / utterances: {sizes})",
        "data": features_in_words(corpus, plan.features),
        "space": f"{short_path(plan.space.path)}: {parameters}, {epochs}" + _derived(plan),
        "search": f"{plan.sampler}, {plan.schedule.name}, seed {plan.seed}; {validation_in_words(plan)}",
        "priors": priors_in_words(plan.sampler, plan.space),
        "workers": plan.workers.describe(),
        "floats": plan.precision_remark,
        "budget": plan.budget.describe() + (f"; ends {end}" if end else ""),
        "final": plan.final.describe(),
        "mlflow": redacted(plan.tracking_uri)
        + (f" ({plan.tracking_remark})" if plan.tracking_remark else ""),
    }
    for title, text in rows.items():
        if text:
            console.print(f"{title:8s}{text}")


def validation_in_words(plan: Plan) -> str:
    """What the trials are scored on."""
    if not plan.validation_folds:
        return "trials scored on dev"
    return f"trials scored on dev and on one of {plan.validation_folds} folds of train, which they leave out"


def _derived(plan: Plan) -> str:
    """What a derived space is, and where it is kept."""
    if not plan.derived:
        return ""
    kept = (
        f"derived, since spaces/ has none for {plan.space.dataset}; kept as {short_path(plan.folder / SPACE)}"
    )
    return "".join(f"\n{'':8s}{line}" for line in (kept, *plan.derived))


def _spent(plan: Plan) -> Spent:
    """What earlier sessions of the study have used of its budget."""
    if plan.resumed:
        with contextlib.suppress(UserError):  # killed before its record was created
            study = record.read_record(plan.folder, plan.storage)
            return take_snapshot(study).spent(record.seconds(study), record.gpu_seconds(study))
    return Spent()


def print_outcome(outcome: Outcome, data_dir: Path | None, console: Console) -> int:
    """Print how the search ended, where its results are and what to run next; returns the exit code."""
    plan, folder = outcome.plan, short_path(outcome.plan.folder)
    data = option("data-dir", data_dir)
    if outcome.tracking_problem:
        console.print(
            f"warning: MLflow is not up to date: {outcome.tracking_problem}; send the rest later with:"
        )
        console.print(f"  {search_command('--sync', plan.name, *runs_dir_option(plan.folder.parent), *data)}")
    resume = search_command("--resume", plan.name, *runs_dir_option(plan.folder.parent), *data)
    if outcome.interrupted is not None:
        console.print(
            f"interrupted; all trials are kept, also the unfinished ones; resume the study with:\n  {resume}"
        )
        return 128 + outcome.interrupted
    if outcome.exported is None:
        console.print(f"no trial finished an epoch; the reasons are in {folder / REPORT}")
        return 1
    _print_scores(outcome, console)
    registered = outcome.registered
    if registered is not None and registered.problem:
        console.print(f"warning: {registered.problem}")
    model = [] if registered is None else model_lines(registered)
    for title, text in (
        ("report", str(folder / REPORT)),
        ("result", f"{folder / BEST}{_official(plan)}"),
        *_mlflow_lines(outcome),
        *model,
        ("rerun", search_command("--rerun", plan.folder / BEST, *data)),
        *_resume_lines(plan, resume),
    ):
        console.print(f"{title:8s}{text}")
    return 0


def _official(plan: Plan) -> str:
    """Where the official command is, for a dataset that the official code has."""
    has = official_dataset(plan.space.dataset) is not None
    return f" ({OFFICIAL}: the same configuration for the official train.py)" if has else ""


def model_lines(registered: Registration) -> list[tuple[str, str]]:
    """Where the model is in MLflow's registry, and which one is its best; none if it is not there."""
    known = [one for one in (registered, *registered.others) if one.version]
    texts = [text for one in known for text in (one.uri, one.remark) if text]
    return [("" if number else "model", text) for number, text in enumerate(texts)]


def _resume_lines(plan: Plan, command: str) -> list[tuple[str, str]]:
    """The command that goes on with the study, with more budget than it has used; none if that is no help."""
    try:
        study = record.read_record(plan.folder, plan.storage)
    except UserError:  # its database went away after the end
        return []
    spent = take_snapshot(study).spent(record.seconds(study), record.gpu_seconds(study))
    longer = extended(plan.budget, spent)
    return [] if longer is None else [("resume", f"{command} {extending_options(plan.budget, longer)}")]


def _mlflow_lines(outcome: Outcome) -> list[tuple[str, str]]:
    """Where MLflow shows the study: the page of its server, or the command that starts one."""
    uri = redacted(outcome.plan.tracking_uri)
    if uri.startswith("http"):
        return [("runs", uri.rstrip("/") + outcome.tracking_page)]
    page = f"http://127.0.0.1:5000{outcome.tracking_page}"
    return [("runs", pasteable(program("mlflow"), "ui", "--backend-store-uri", uri)), ("", page)]


def _print_scores(outcome: Outcome, console: Console) -> None:
    """Print winner against baseline over their seeds, and the exported checkpoint, in one table."""
    exported, final = outcome.exported, read_final_record(outcome.plan.folder)
    assert exported is not None
    assert final.test is not None
    test, name = final.test, f"trial {exported.metrics['trial']}"
    winner = final.winner
    where = "" if winner is None else f": {origin(outcome.plan.space, winner.params)}"
    table = Table("weighted F1", title=f"{name} won{where}", title_justify="left")
    for column in ("validation", "test", "95 % interval"):
        table.add_column(column, justify="right")
    for row in _test_rows(test, name):
        table.add_row(*row)
    checkpoint = [percent(scores["weighted_f1"]) for scores in (exported.validation, exported.test)]
    table.add_row(f"the checkpoint in best/ (seed {exported.metrics['seed']})", *checkpoint, "")
    console.print(table)
    _print_differences(test, console)
    for line in [*explanation_lines(final), *trust_lines(final)]:
        console.print(line)
    if final.paper is not None and final.paper.winner is not None:
        console.print(f"best test epoch (selected on test, optimistic): {percent(final.paper.winner.mean)}")
    if len(final.openings) > 1:
        console.print(
            f"warning: the test split was opened {len(final.openings)} times by this study; see {FINAL}"
        )
    counts = ", ".join(f"{count} {state}" for state, count in exported.metrics["trials"].items())
    console.print(f"trials: {counts}; {exported.metrics['ending']}")


def _test_rows(test: TestRecord, name: str) -> list[tuple[str, str, str, str]]:
    """Label, validation, test and interval of winner and baseline, in the form of each answer."""
    rows = []
    for answer in answers_of(test):
        configuration = answer.name == CONFIGURATION
        if configuration and len(test.seeds) < 2:
            continue  # the checkpoint's own row has it
        for side, label in (("winner", name), ("baseline", "baseline")):
            if (scores := answer.side(side)) is None:
                continue
            seeds = counted(len(scores.weighted_f1.values), "seed")
            form = seeds if configuration else answer.name
            validation = answer.validation.get(side, ())
            mean = percent(statistics.mean(validation) if validation else None)
            rows.append((f"{label}, {form}", mean, spread(scores.weighted_f1), span(scores.interval)))
    return rows


def _print_differences(test: TestRecord, console: Console) -> None:
    """Print winner minus baseline on test: one line, or one for each of several answers."""
    answers = answers_of(test)
    if len(answers) > 1:
        if lines := difference_lines(answers):
            console.print("winner minus baseline on test, in points (paired bootstrap):")
        for line in lines:
            console.print(f"  {line}")
        console.print(fixed_before_test(answers))
    elif (bootstrap := answers[0].bootstrap) is not None:
        interval = bootstrap.interval
        console.print(
            f"winner minus baseline on test: {points(interval.value)} points (95 % interval "
            f"{span(interval, signed=True)}; paired bootstrap, {p_value(bootstrap.p)})"
        )
