"""Which emotions are recognised, and what they are taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from rigsl.wording import DASH, counted, listed, percent, points
from search.confirm.final_record import TestRecord
from search.confirm.summary import TestScores
from search.report.charts import chart
from search.report.data import Material
from search.report.format import spread
from search.report.html import drawn, heading, note, section, table
from search.report.sections.result import titles
from search.report.style import BLUE, ORANGE


def classes(m: Material) -> str:
    """The section."""
    test, title = m.final.test, "Emotions"
    missing = note(missing_classes(m))
    if test is None:
        return section("classes", title, missing, _single(m))
    return section(
        "classes",
        title,
        missing,
        _table(m, test),
        drawn(lambda: _picture(m, test)),
        heading("What is taken for what"),
        drawn(lambda: _confusion(m, test.winner)),
    )


def missing_classes(m: Material) -> str:
    """A sentence on classes that validation lacks; empty where it has them all."""
    corpus: dict[str, Any] = dict(m.facts.get("corpus") or {})
    if not corpus:
        return ""
    lacking = {
        split: [
            name
            for name, count in zip(corpus["classes"], corpus["splits"][split]["labels"], strict=True)
            if not count
        ]
        for split in ("train", "dev")
    }
    said = []
    if lacking["dev"]:
        said.append(
            f"No utterance of validation is {listed(lacking['dev'])}: how well that is recognised had no "
            "part in any choice, and macro F1 on validation is over the other classes."
        )
    if lacking["train"]:
        said.append(
            f"No utterance of the training split is {listed(lacking['train'])}: it cannot be learned."
        )
    return " ".join(said)


def row_shares(confusion: Sequence[Sequence[int]]) -> list[list[float | None]]:
    """Every row of a confusion matrix as shares of its sum; None in a row without utterances."""
    return [[cell / sum(row) if sum(row) else None for cell in row] for row in confusion]


def _table(m: Material, test: TestRecord) -> str:
    winner, baseline = test.winner, test.baseline
    rows = []
    for name, support in winner.support.items():
        left, right = winner.f1[name], None if baseline is None else baseline.f1[name]
        gap = None if left is None or right is None else left.mean - right.mean
        rows.append((name, str(support), spread(left), spread(right), points(gap)))
    absent = [name for name, support in winner.support.items() if not support]
    said = "F1 of every class on test, mean ± standard deviation over the trainings."
    if absent:
        said += f" The test split has no utterance that is {listed(absent)}."
    return table(("", "utterances", *titles(m), "difference"), rows) + note(said)


def _picture(m: Material, test: TestRecord) -> str:
    figure, most = go.Figure(), 1.0
    for name, title, colour, symbol in zip(
        ("winner", "baseline"), titles(m), (BLUE, ORANGE), ("circle", "square"), strict=True
    ):
        scores = test.side(name)
        if scores is None:
            continue
        known = {label: found for label, found in scores.f1.items() if found is not None}
        most = max([most, *(100 * (found.mean + (found.std or 0)) for found in known.values())])
        figure.add_scatter(
            x=[100 * found.mean for found in known.values()],
            y=list(known),
            error_x={
                "type": "data",
                "array": [100 * (found.std or 0) for found in known.values()],
                "color": colour,
            },
            mode="markers",
            orientation="h",
            name=title,
            marker={"color": colour, "symbol": symbol, "size": 10},
        )
    figure.update_layout(scattermode="group", scattergap=0.6)
    figure.update_xaxes(title_text="F1 (%)", range=[0, min(100, 1.05 * most)])
    figure.update_yaxes(autorange="reversed", type="category")
    height = 120 + 34 * len(test.winner.f1)
    return chart(figure, "F1 of every class on test", height=height)


def _confusion(m: Material, found: TestScores) -> str:
    names, shares = list(found.support), row_shares(found.confusion)
    percents = [[None if cell is None else 100 * cell for cell in row] for row in shares]
    labels = [["" if cell is None else f"{100 * cell:.1f}" for cell in row] for row in shares]
    figure = go.Figure(
        go.Heatmap(
            z=percents, x=names, y=names, text=labels, texttemplate="%{text}", colorscale="Blues",
            zmin=0, zmax=100, customdata=found.confusion, colorbar={"title": "%", "thickness": 12},
            hovertemplate="%{y} taken for %{x}: %{text} % (%{customdata})<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="predicted", showgrid=False, type="category")
    figure.update_yaxes(title_text="true", autorange="reversed", showgrid=False, type="category")
    caption = (
        f"Of the utterances of a true class, the percentage that is predicted as each; the winner's "
        f"{counted(len(found.seeds), 'training')} together{f', {m.again}' if m.again else ''}."
    )
    height = 150 + 44 * len(names)
    width = 110 + 62 * len(names)
    return chart(
        figure, "confusion matrix of the winner on test", height=height, width=width, caption=caption
    )


def _single(m: Material) -> str:
    if "test" not in m.metrics:
        return note("Nothing has been tested.")
    f1 = m.metrics["test"]["f1"]
    rows = [(name, DASH if value is None else percent(value)) for name, value in f1.items()]
    head = ("", f"F1, test ({m.again})" if m.again else "F1, test")
    said = "Of one training. A confusion matrix needs the predictions of a last stage with several seeds."
    return table(head, rows) + note(said)
