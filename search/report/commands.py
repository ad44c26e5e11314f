"""The command lines on the page: train the result again, go on with the study."""

from __future__ import annotations

from pathlib import Path

from search.command_lines import in_project, page_command
from search.plan.addresses import SQLITE, database
from search.record import record
from search.record.snapshot import take_snapshot
from search.report.data import StudyData
from search.run_folder import BEST, STUDY
from search.space.budget import exhausted, read_budget
from search.space.extension import extended, extending_options


def rerun_command(data: StudyData) -> str:
    """Train the exported configuration again."""
    return page_command(data.folder.parent, "--rerun", data.folder / BEST)


def resume_command(data: StudyData, *words: str | Path) -> str | None:
    """Go on with the study, with a larger budget where it is used up; None: a resume would be refused.

    Args:
        data: of the study.
        words: more options.
    """
    study, budget = data.study, read_budget(data.options["budget"], STUDY)
    spent = take_snapshot(study).spent(record.seconds(study), record.gpu_seconds(study))
    longer = extended(budget, spent)
    if longer is None and exhausted(budget, spent):
        return None
    larger = [] if longer is None else extending_options(budget, longer).split()
    runs = data.folder.parent
    return page_command(runs, "--resume", data.name, *words, *larger, *_tracking(data, runs), named=True)


def _tracking(data: StudyData, runs: Path) -> tuple[str, ...]:
    """The option for an MLflow database whose stored address holds in the folder of the search only."""
    uri = data.options["tracking_uri"]
    relative = uri.startswith(SQLITE) and not uri.startswith(f"{SQLITE}/")
    if in_project(runs) or not relative or not database(uri).is_file():
        return ()
    return "--tracking-uri", f"{SQLITE}{database(uri)}"
