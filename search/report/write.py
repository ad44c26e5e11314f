"""Write ``report.html``, one page that needs nothing else, and the pictures beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.files import write_text
from search.run_folder import REPORT

if TYPE_CHECKING:
    import optuna

    from search.export.best import Exported
    from search.plan.plan import Plan
    from search.report.data import Material


def write_report(plan: Plan, study: optuna.Study, exported: Exported | None) -> Path:
    """Write ``report.html`` and its pictures into the run folder; returns the page's path.

    It is made of what the folder holds: options, space, record, ``best/``, ``final.json``, ``system.jsonl``;
    and of the corpus, of which it notes in ``facts.json`` what `rebuild` needs.

    Args:
        plan: of the study.
        study: its open record.
        exported: its result; None: there is none.
    """
    from search.report.data import read_material
    from search.report.facts import note_facts

    model = None if exported is None else exported.folder
    note_facts(plan.folder, plan.corpus, plan.features, model)
    return _write(read_material(plan.folder, study, exported=exported is not None))


def study_claim(plan: Plan, study: optuna.Study, exported: Exported | None) -> str:
    """What the study found, in one sentence that stays true out of its context; after `write_report`."""
    from search.report.claim import claim
    from search.report.data import read_material

    return claim(read_material(plan.folder, study, exported=exported is not None))


def rebuild(folder: Path, storage: str | None = None) -> Path:
    """Make the report of a run folder again, from what the folder holds alone; returns the page's path.

    Args:
        folder: of the run; its study may be running.
        storage: where its record is now, if not where it was.

    Raises:
        UserError: its record does not answer, or a file of it cannot be read.
    """
    from search.report.data import read_material

    return _write(read_material(folder, storage=storage))


def _write(material: Material) -> Path:
    # Only now: plotly takes a second to import, and a search should start fast.
    from search.report.importance import measure
    from search.report.page import page
    from search.report.pictures import draw_pictures

    found = measure(material.study)
    path = material.folder / REPORT
    write_text(path, page(material, found))
    draw_pictures(material, found)
    return path
