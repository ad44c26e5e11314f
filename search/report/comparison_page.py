"""The page of ``--compare``: studies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from rigsl.files import write_text
from rigsl.wording import DASH, counted, listed
from search.confirm.answers import several_answers
from search.confirm.summary import Summary, TestScores
from search.record import record
from search.report.answers import side_title
from search.report.charts import chart, error_bar, in_percent
from search.report.claim import claim
from search.report.comparison import (
    ANSWERS_HEAD,
    ANSWERS_NOTE,
    HEAD,
    PAIRS_HEAD,
    WORDS,
    ComparedStudy,
    StudyComparison,
    answer_rows,
    note_of,
    pair_rows,
    study_rows,
    times_opened,
)
from search.report.format import spread, value_text
from search.report.html import drawn, heading, note, paragraph, section, table, text
from search.report.incumbent import incumbent_curve
from search.report.page import document
from search.report.sections.history import F1_TITLE
from search.report.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE
from search.space.budget import minutes_in_words

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK, GREY)
_DASHES = ("solid", "dash", "dot", "dashdot")
#: Characters of a hash that are shown.
_HASH_LENGTH = 12


def write_comparison(comparison: StudyComparison, path: Path) -> Path:
    """Write the page to the HTML file `path`; returns it."""
    write_text(path, page(comparison))
    return path


def page(comparison: StudyComparison) -> str:
    """The whole page."""
    studies = comparison.studies
    names = listed([study.label for study in studies])
    parts = [
        f"<header><h1>{text(names)}</h1></header>",
        section(
            "test",
            "Studies side by side",
            table(HEAD, study_rows(comparison), words=range(WORDS)),
            drawn(lambda: _intervals(studies)),
            note(note_of(comparison)),
        ),
        *_answers(comparison),
        section("pairs", "Pairwise differences", *_pairs(comparison)),
        section("claims", "The claim of each study", *_claims(studies)),
        section("classes", "F1 of every emotion", *_classes(studies)),
        section("history", "Best score so far (incumbent)", *_histories(studies)),
        section("winners", "Winning configurations", _winners(studies)),
        section("setup", "Setup of each study", _setups(studies)),
    ]
    return document(f"Comparison of {names}", parts)


def _intervals(studies: Sequence[ComparedStudy]) -> str:
    """A picture of the test scores of winners and baselines."""
    figure = go.Figure()
    for i, study in enumerate(studies):
        colour = _COLOURS[i % len(_COLOURS)]
        for title, symbol, scores in _tested_sides(study):
            mean = scores.weighted_f1.mean
            figure.add_scatter(
                x=[100 * mean],
                y=[f"{study.label}<br>{title}" if title else study.label],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 11},
                error_x=error_bar(mean, scores.interval, colour, thickness=2, width=6),
                name=title or "winner",
            )
    if not figure.data:
        return note("None of them was tested.")
    figure.update_xaxes(title_text="test weighted F1 (%)")
    figure.update_yaxes(autorange="reversed", type="category")
    height = 90 + 38 * len(figure.data)
    return chart(figure, "test scores with their 95 % intervals", height=height, bare=True)


def _tested_sides(study: ComparedStudy) -> list[tuple[str, str, TestScores]]:
    """Title below the study's name, symbol and scores: winner and baseline, in the form of each answer."""
    test = study.data.final.test
    if test is None:
        return []
    symbols = {"winner": "circle", "baseline": "square-open"}
    rows = [("", "winner", test.winner), ("baseline", "baseline", test.baseline)]
    for answer in several_answers(test)[1:]:
        rows += [(side_title(answer, side), side, answer.side(side)) for side in symbols]
    return [(title, symbols[side], scores) for title, side, scores in rows if scores is not None]


def _answers(comparison: StudyComparison) -> list[str]:
    """The section on the answers of studies that have several; none where no study has."""
    rows = answer_rows(comparison)
    if not rows:
        return []
    parts = (table(ANSWERS_HEAD, rows, words=(0, 1)), note(ANSWERS_NOTE))
    return [section("answers", "Configuration, taught, average", *parts)]


def _pairs(comparison: StudyComparison) -> list[str]:
    words = (0, len(PAIRS_HEAD) - 1)
    explanation = (
        "Differences in percentage points, with the paired bootstrap over dialogues and trainings: both "
        "studies are scored on the same resampled dialogues. Corrected p: times the number of tests "
        f"({comparison.test_count}; Bonferroni). For pairs without a test, there are only the intervals "
        "above."
    )
    parts = [table(PAIRS_HEAD, pair_rows(comparison), words=words), note(explanation)]
    if not comparison.test_count:
        parts.append(paragraph("No paired test is possible between these studies."))
    return parts


def _claims(studies: Sequence[ComparedStudy]) -> list[str]:
    return [heading(study.label) + paragraph(claim(study.data)) for study in studies]


def _classes(studies: Sequence[ComparedStudy]) -> list[str]:
    """F1 of every class; studies with the same classes share a table."""
    groups: dict[tuple[str, ...], list[ComparedStudy]] = {}
    for study in studies:
        if study.tested is not None:
            groups.setdefault(tuple(study.tested.f1), []).append(study)
    parts = []
    for classes, members in groups.items():
        rows = [(name, *(spread(_class_f1(study, name)) for study in members)) for name in classes]
        parts.append(table(("", *(_tested_label(study) for study in members)), rows))
    return parts or [note("None of them was tested.")]


def _tested_label(study: ComparedStudy) -> str:
    reopened = study.data.reopened
    return f"{study.label} ({reopened})" if reopened else study.label


def _class_f1(study: ComparedStudy, name: str) -> Summary | None:
    return None if study.tested is None else study.tested.f1[name]


def _histories(studies: Sequence[ComparedStudy]) -> list[str]:
    """Best validation score over time; one figure for each dataset."""
    groups: dict[str, list[ComparedStudy]] = {}
    for study in studies:
        if incumbent_curve(study.data):
            groups.setdefault(str(study.data.options["dataset"]).upper(), []).append(study)
    parts = []
    for dataset, members in groups.items():
        figure = go.Figure()
        for i, study in enumerate(members):
            curve = incumbent_curve(study.data)
            colour, dash = _COLOURS[i % len(_COLOURS)], _DASHES[i % len(_DASHES)]
            figure.add_scatter(
                x=[60 * point.hours for point in curve],
                y=in_percent([point.best for point in curve]),
                mode="lines+markers",
                name=study.label,
                line={"shape": "hv", "width": 2.2, "color": colour, "dash": dash},
                marker={"size": 4},
            )
        figure.update_xaxes(title_text="minutes of search", rangemode="tozero")
        figure.update_yaxes(title_text=F1_TITLE)
        figure.update_layout(showlegend=True)
        parts.append(chart(figure, f"best score over time on {dataset}", height=340, caption=dataset))
    return parts or [note("No trial of them has a score.")]


def _winners(studies: Sequence[ComparedStudy]) -> str:
    params = [study.data.winner_params for study in studies]
    names = list(dict.fromkeys(name for study in studies for name in study.data.space.parameters))
    rows = [
        (name, *(value_text(own[name]) if name in own else DASH for own in params))
        for name in names
        if any(name in own for own in params)
    ]
    return table(("", *(study.label for study in studies)), rows)


def _setups(studies: Sequence[ComparedStudy]) -> str:
    """A column for each study."""
    columns = [_setup(study) for study in studies]
    rows = [(title, *(column[title] for column in columns)) for title in columns[0]]
    head = ("", *(study.label for study in studies))
    return table(head, rows, words=range(len(head)))


def _setup(study: ComparedStudy) -> dict[str, str]:
    """Title of a row -> cell of this study."""
    data, options = study.data, study.data.options
    commits = sorted({str(session["commit"])[:_HASH_LENGTH] for session in data.sessions})
    counts = record.counts(data.study)
    return {
        "corpus": f"{data.corpus}, {str(options['corpus'])[:_HASH_LENGTH]}",
        "features": str(options["features"]),
        "backbone": study.backbone,
        "space": f"{counted(len(data.space.parameters), 'parameter')}, {data.space.content_hash}",
        "sampler, scheduler": f"{options['sampler']}, {options['scheduler']}",
        "seed, epochs": f"{options['seed']}, {options['epochs']}",
        "trials": ", ".join(f"{count} {state}" for state, count in counts.items() if count),
        "wall time of the search": minutes_in_words(record.seconds(data.study) / 60),
        "GPU hours": f"{record.gpu_seconds(data.study) / 3600:.2f}",
        "test opened": times_opened(data.test_openings) if data.test_openings else "never",
        "commit": listed(commits) if commits else DASH,
    }
