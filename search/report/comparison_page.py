"""The page of ``--compare``: studies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from rigsl.files import write_text
from rigsl.wording import DASH, listed
from search.confirm.summary import Summary
from search.record import record
from search.report.charts import chart
from search.report.claim import claim
from search.report.comparison import (
    HEAD,
    NOTE,
    PAIRS_HEAD,
    Comparison,
    Side,
    pair_rows,
    study_rows,
    times,
)
from search.report.format import spread, value_text
from search.report.html import (
    drawn,
    note,
    paragraph,
    section,
    table,
    text,
)
from search.report.page import document
from search.report.sections.history import F1, points
from search.report.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
)
from search.space.budget import minutes_in_words

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK, GREY)
_DASHES = ("solid", "dash", "dot", "dashdot")


def write_comparison(found: Comparison, out: Path) -> Path:
    """Write the page to the HTML file `out`; returns its path."""
    write_text(out, page(found))
    return out


def page(found: Comparison) -> str:
    """The whole page."""
    names = [side.label for side in found.sides]
    parts = [
        f"<header><h1>{text(listed(names))}</h1></header>",
        section(
            "test",
            "Studies side by side",
            table(HEAD, study_rows(found), words=(0, 1, 2)),
            drawn(lambda: _intervals(found.sides)),
            note(NOTE),
        ),
        section("pairs", "Every two of them", *_pairs(found)),
        section("claims", "What each of them says", *_claims(found.sides)),
        section("classes", "Emotions", *_classes(found.sides)),
        section("history", "The best score so far", *_histories(found.sides)),
        section("winners", "Winning configurations", _winners(found.sides)),
        section("setup", "How they were made", _setups(found.sides)),
    ]
    return document(f"Comparison of {listed(names)}", parts)


def _intervals(sides: Sequence[Side]) -> str:
    figure = go.Figure()
    for i, side in enumerate(sides):
        colour = _COLOURS[i % len(_COLOURS)]
        test = side.material.final.test
        for name, symbol in (("winner", "circle"), ("baseline", "square-open")):
            found = None if test is None else test.side(name)
            if found is None:
                continue
            mean, interval = found.weighted_f1.mean, found.interval
            error = {"type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 6}
            if interval is not None:
                error["array"] = [100 * (interval.high - mean)]
                error["arrayminus"] = [100 * (mean - interval.low)]
            figure.add_scatter(
                x=[100 * mean],
                y=[side.label if name == "winner" else f"{side.label}<br>baseline"],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 11},
                error_x=error,
                name=name,
            )
    if not figure.data:
        return note("None of them was tested.")
    figure.update_xaxes(title_text="test weighted F1 (%)")
    figure.update_yaxes(autorange="reversed", type="category")
    height = 90 + 38 * len(figure.data)
    return chart(figure, "test scores with their 95 % intervals", height=height, bare=True)


def _pairs(found: Comparison) -> list[str]:
    words = (0, len(PAIRS_HEAD) - 1)
    said = (
        "Differences in percentage points, with the paired bootstrap over dialogues and trainings: both are "
        "scored on the same drawn dialogues. Corrected p: times the number of tests "
        f"({found.tests}; Bonferroni). Where there is no test, the intervals above are all there is to say."
    )
    parts = [table(PAIRS_HEAD, pair_rows(found), words=words), note(said)]
    return parts if found.tests else [*parts, paragraph("No paired test is possible between these studies.")]


def _claims(sides: Sequence[Side]) -> list[str]:
    return [f"<h3>{text(side.label)}</h3>{paragraph(claim(side.material))}" for side in sides]


def _classes(sides: Sequence[Side]) -> list[str]:
    """F1 of every class; of studies with the same classes in one table."""
    groups: dict[tuple[str, ...], list[Side]] = {}
    for side in sides:
        if side.tested is not None:
            groups.setdefault(tuple(side.tested.f1), []).append(side)
    parts = []
    for classes, members in groups.items():
        rows = [(name, *(spread(_class_f1(side, name)) for side in members)) for name in classes]
        head = (
            "",
            *(
                f"{side.label}{f' ({side.material.again})' if side.material.again else ''}"
                for side in members
            ),
        )
        parts.append(table(head, rows))
    return parts or [note("None of them was tested.")]


def _class_f1(side: Side, name: str) -> Summary | None:
    return None if side.tested is None else side.tested.f1[name]


def _histories(sides: Sequence[Side]) -> list[str]:
    """Best validation score over time; studies of other data in another figure."""
    groups: dict[str, list[Side]] = {}
    for side in sides:
        if points(side.material):
            groups.setdefault(str(side.material.options["dataset"]).upper(), []).append(side)
    parts = []
    for dataset, members in groups.items():
        figure = go.Figure()
        for i, side in enumerate(members):
            found = points(side.material)
            figure.add_scatter(
                x=[60 * point.hours for point in found],
                y=[100 * point.best for point in found],
                mode="lines+markers",
                name=side.label,
                line={
                    "shape": "hv",
                    "width": 2.2,
                    "color": _COLOURS[i % len(_COLOURS)],
                    "dash": _DASHES[i % 4],
                },
                marker={"size": 4},
            )
        figure.update_xaxes(title_text="minutes of search", rangemode="tozero")
        figure.update_yaxes(title_text=F1)
        figure.update_layout(showlegend=True)
        parts.append(chart(figure, f"best score over time on {dataset}", height=340, caption=dataset))
    return parts or [note("No trial of them has a score.")]


def _winners(sides: Sequence[Side]) -> str:
    params = [_params(side) for side in sides]
    names = list(dict.fromkeys(name for side in sides for name in side.material.space.parameters))
    rows = [
        (name, *(value_text(own[name]) if name in own else DASH for own in params))
        for name in names
        if any(name in own for own in params)
    ]
    return table(("", *(side.label for side in sides)), rows)


def _params(side: Side) -> dict[str, object]:
    final, winner = side.material.final.winner, side.material.winner
    if final is not None:
        return dict(final.params)
    return {} if winner is None else dict(winner.params)


def _setups(sides: Sequence[Side]) -> str:
    rows: dict[str, list[str]] = {}
    for side in sides:
        m, options = side.material, side.material.options
        counts = record.counts(m.study)
        commits = sorted({str(session["commit"])[:12] for session in m.sessions})
        for name, value in (
            ("corpus", f"{m.corpus}, {str(options['corpus'])[:12]}"),
            ("features", str(options["features"])),
            ("backbone", side.backbone),
            ("space", f"{len(m.space.parameters)} parameters, {m.space.content_hash}"),
            ("sampler, scheduler", f"{options['sampler']}, {options['scheduler']}"),
            ("seed, epochs", f"{options['seed']}, {options['epochs']}"),
            ("trials", ", ".join(f"{count} {state}" for state, count in counts.items() if count)),
            ("time of the search", minutes_in_words(record.seconds(m.study) / 60)),
            ("GPU hours", f"{record.gpu_seconds(m.study) / 3600:.2f}"),
            ("test opened", times(m.opened) if m.opened else "never"),
            ("commit", listed(commits) if commits else DASH),
        ):
            rows.setdefault(name, []).append(value)
    head = ("", *(side.label for side in sides))
    return table(head, [(name, *values) for name, values in rows.items()], words=range(len(head)))
