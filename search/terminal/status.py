"""What a study is doing, read from its record by another process (``--status``); nothing is written."""

from __future__ import annotations

from pathlib import Path

import optuna
from rich.console import Console
from rich.table import Table

from rigsl.config import read_toml
from rigsl.errors import UserError
from search import run_folder
from search.record import lock, record
from search.space.budget import minutes_in_words, read_budget
from search.terminal.progress import describe, named

#: So many of the last ends are shown.
LAST = 5


def print_status(folder: Path, console: Console, storage: str | None = None) -> None:
    """Print how the study in `folder` stands: its process, budget, best trial, running and last trials.

    Raises:
        UserError: its record cannot be read.
    """
    kept = read_toml(folder / run_folder.STUDY)
    study = record.read_record(folder, storage)
    budget = read_budget(kept["budget"], str(folder))
    used = f"{minutes_in_words(record.seconds(study) / 60)} of {budget.describe()}"
    if gpu_seconds := record.gpu_seconds(study):
        used += f"; {gpu_seconds / 3600:.2f} GPU hours"
    counts = ", ".join(f"{count} {name}" for name, count in record.counts(study).items())
    best = record.winner(study)
    found = "none yet" if best is None else f"{record.score(best):.4f}, trial {best.number} ({named(best)})"
    for name, text in (
        ("study", f"{folder.name}: {standing(folder, study)}"),
        ("used", used),
        ("trials", counts),
        ("best", found),
    ):
        console.print(f"{name:8s}{text}")
    if now := record.running(study):
        table = Table("trial", "epoch", "best", box=None, padding=(0, 2, 0, 0), header_style="dim")
        for trial in now:
            values = trial.intermediate_values
            score = f"{max(values.values()):.4f}" if values else "-"
            table.add_row(str(trial.number), f"{trial.last_step or 0}/{kept['epochs']}", score)
        console.print(table)
    for trial in record.finished(study)[-LAST:]:
        console.print(describe(trial))


def print_studies(runs: Path, console: Console) -> None:
    """Print one line about each study in the folder `runs`, the newest last.

    Raises:
        UserError: there is none.
    """
    folders = sorted((path.parent for path in runs.glob(f"*/{run_folder.STUDY}")), key=_age)
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
        table.add_row(folder.name, str(len(record.finished(study))), score, standing(folder, study))
    console.print(table)


def standing(folder: Path, study: optuna.Study) -> str:
    """How a study stands, in words: running, interrupted, or finished and why."""
    holder = lock.holder(folder / run_folder.LOCK)
    if holder is not None:
        return f"running (process {holder})"
    said = str(study.user_attrs.get(record.STANDING, ""))
    return said if said.startswith("finished") else "interrupted; go on with --resume"


def _age(folder: Path) -> float:
    return (folder / run_folder.STUDY).stat().st_mtime
