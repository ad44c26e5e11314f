"""Writes ``report.html``, one self-contained page, and the pictures beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search.run_folder import REPORT, STUDY, check_present, write_file

if TYPE_CHECKING:
    import optuna

    from rigsl.data.corpus import Corpus
    from search.export.best import ExportedModel
    from search.report.data import StudyData


def write_report(
    folder: Path, study: optuna.Study, exported: ExportedModel | None, corpus: Corpus, features: str
) -> Path:
    """Write ``report.html`` and its pictures into the run folder; returns the page's path.

    The report is made from the content of the folder. What it needs of the corpus is written to
    ``facts.json`` first, so that `rebuild` works without the corpus.

    Args:
        folder: the run folder.
        study: its open record.
        exported: its result; None: there is none.
        corpus: of the study.
        features: "open" or "official".

    Raises:
        UserError: one of the files that the study left before is damaged.
    """
    from search.report.data import read_study_data, sound_files
    from search.report.facts import write_facts

    check_present(folder / STUDY)
    write_facts(folder, corpus, features, None if exported is None else exported.folder)
    with sound_files(folder):
        return _write(read_study_data(folder, study, exported=exported is not None))


def study_claim(folder: Path, study: optuna.Study, exported: ExportedModel | None) -> str:
    """The result of a study in one sentence; to be called after `write_report`."""
    from search.report.claim import claim
    from search.report.data import read_study_data

    return claim(read_study_data(folder, study, exported=exported is not None))


def rebuild(folder: Path, storage: str | None = None) -> Path:
    """Write the report of a run folder again, from its content alone; returns the page's path.

    Args:
        folder: the run folder; its study may be running.
        storage: address of its record, if it has moved.

    Raises:
        UserError: its record does not answer, or one of its files cannot be read.
    """
    from search.report.data import read_study_data, sound_files

    with sound_files(folder):
        return _write(read_study_data(folder, storage=storage))


def _write(data: StudyData) -> Path:
    # Imported here: plotly takes a second, and a search should start fast.
    from search.report.page import page
    from search.report.pictures import draw_pictures

    path = data.folder / REPORT
    write_file(path, page(data))
    draw_pictures(data)
    return path
