"""What studies are doing (``--status``), read from their records by another process; nothing is written."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import optuna
from rich.console import Console
from rich.table import Table

from rigsl.errors import UserError
from rigsl.redaction import redacted
from rigsl.shell import option, short_path
from search import run_folder
from search.command_lines import runs_dir_option, search_command
from search.confirm.answers import several_answers
from search.confirm.final_record import read_final_record
from search.record import lock, record
from search.record.study_options import read_study_options
from search.space.budget import minutes_in_words, read_budget
from search.terminal.answers import score_lines
from search.terminal.progress import key_parameters, trial_summary
from search.terminal.trust import status_line

#: Ended trials that are printed: the last ones.
LAST_TRIALS = 5


def print_status(folder: Path, console: Console, storage: str | None = None) -> None:
    """Print the state of the study in `folder`: its process, budget, best trial, running and last trials.

    Of a study with several answers (configuration, taught, average), what each has on test. How many checks
    of the search pass, and what was expected of test.

    Raises:
        UserError: its record cannot be read.
    """
    options = read_study_options(folder)
    study = record.read_record(folder, storage)
    budget = read_budget(options["budget"], str(folder))
    used = f"{minutes_in_words(record.seconds(study) / 60)} of {budget.describe()}"
    if (total := record.total_seconds(study)) - record.seconds(study) >= 1:
        used += f"; {minutes_in_words(total / 60)} with the final stage"
    if gpu_seconds := record.gpu_seconds(study):
        used += f"; {gpu_seconds / 3600:.2f} GPU hours"
    state, best = study_state(folder, study), record.winner(study)
    best_text = "none yet"
    if best is not None:
        best_text = f"{record.score(best):.4f}, trial {best.number} ({key_parameters(best)})"
    for title, text in (
        ("study", f"{folder.name}: {state}"),
        ("used", used),
        ("trials", ", ".join(f"{count} {state}" for state, count in record.counts(study).items())),
        ("best", best_text),
        *_test_lines(folder),
    ):
        console.print(f"{title:8s}{text}")
    if state.startswith("interrupted"):
        moved = None if storage is None else redacted(storage)
        words = (*runs_dir_option(folder.parent), *option("storage", moved))
        console.print(f"resume  {search_command('--resume', folder.name, *words)}")
    log = folder / run_folder.TERMINAL_LOG
    if log.is_file():
        console.print(f"log     {short_path(log)} (written since its terminal was gone)")
    if running := record.running(study):
        table = Table("trial", "epoch", "best", box=None, padding=(0, 2, 0, 0), header_style="dim")
        for trial in running:
            values = trial.intermediate_values
            score = f"{max(values.values()):.4f}" if values else "-"
            table.add_row(str(trial.number), f"{trial.last_step or 0}/{options['epochs']}", score)
        console.print(table)
    for trial in record.finished(study)[-LAST_TRIALS:]:
        console.print(trial_summary(trial))


def _test_lines(folder: Path) -> list[tuple[str, str]]:
    """A line for each answer of a study that has several; then whether the search can be trusted."""
    try:
        final = read_final_record(folder)
    except UserError as error:  # the record of the search still tells the rest
        return [("test", str(error))]
    lines = score_lines(several_answers(final.test))
    openings = sum(opening.protocol == "validation" for opening in final.openings)
    if lines and openings > 1:
        lines.append(f"test was opened {openings} times, so these scores are no longer unbiased")
    titled = [("" if i else "test", line) for i, line in enumerate(lines)]
    return [*titled, ("trust", line)] if (line := status_line(final)) else titled


def print_studies(runs: Path, console: Console) -> None:
    """Print one line for each study in the folder `runs`, the newest last.

    Raises:
        UserError: there is none.
    """
    folders = sorted((path.parent for path in runs.glob(f"*/{run_folder.STUDY}")), key=_last_start)
    if not folders:
        raise UserError(f"--status: there is no study in {runs}; start one without --status")
    table = Table("study", "trials", "best", "state", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for folder in folders:
        try:
            study = record.read_record(folder)
        except UserError as error:
            table.add_row(folder.name, "", "", str(error))
            continue
        best = record.winner(study)
        score = "" if best is None else f"{record.score(best):.4f}"
        table.add_row(folder.name, str(len(record.finished(study))), score, study_state(folder, study))
    console.print(table)


def study_state(folder: Path, study: optuna.Study) -> str:
    """The state of a study in words: running, interrupted, or finished and why."""
    process = lock.holder(folder / run_folder.LOCK)
    if process is not None:
        return f"running (process {process})"
    standing = str(study.user_attrs.get(record.STANDING, ""))
    return standing if standing.startswith("finished") else "interrupted; continue it with --resume"


def _last_start(folder: Path) -> float:
    """When the study was last started or resumed, in seconds since 1970; a copy of its folder keeps it."""
    try:
        sessions = json.loads((folder / run_folder.ENVIRONMENT).read_text(encoding="utf-8"))
        return datetime.fromisoformat(sessions[-1]["started"]).timestamp()
    except (OSError, ValueError, LookupError, TypeError):  # killed before it was written
        return (folder / run_folder.STUDY).stat().st_mtime
