"""F1 of every emotion class on test, and the confusion matrix of the winner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from rigsl.wording import counted, listed, percent, points
from search.confirm.answers import several_answers
from search.confirm.final_record import TestRecord
from search.confirm.summary import TestScores
from search.report.charts import chart
from search.report.data import StudyData
from search.report.format import spread
from search.report.html import drawn, heading, note, table
from search.report.sections.result import titles
from search.report.style import BLUE, ORANGE


def content(data: StudyData) -> str:
    """The section."""
    test, missing = data.final.test, note(missing_classes(data))
    if test is None:
        return missing + _single_training(data)
    return "".join(
        [
            missing,
            _table(data, test),
            drawn(lambda: _picture(data, test)),
            heading("Confusion matrix"),
            drawn(lambda: _confusion(data, test.winner)),
        ]
    )


def missing_classes(data: StudyData) -> str:
    """Sentences on classes that validation or the training split lacks; empty if they have all classes."""
    corpus: dict[str, Any] = dict(data.facts.get("corpus") or {})
    if not corpus:
        return ""
    missing = {
        split: [
            name
            for name, count in zip(corpus["classes"], corpus["splits"][split]["labels"], strict=True)
            if not count
        ]
        for split in ("train", "dev")
    }
    sentences = []
    if missing["dev"]:
        sentences.append(
            f"Validation has no utterance of {listed(missing['dev'])}: how well that is recognised did not "
            "influence any choice, and macro F1 on validation is the mean of the other classes."
        )
    if missing["train"]:
        sentences.append(
            f"The training split has no utterance of {listed(missing['train'])}: it cannot be learned."
        )
    return " ".join(sentences)


def row_shares(confusion: Sequence[Sequence[int]]) -> list[list[float | None]]:
    """Every row of a confusion matrix as shares of its sum; None in a row without utterances."""
    return [[cell / sum(row) if sum(row) else None for cell in row] for row in confusion]


def _table(data: StudyData, test: TestRecord) -> str:
    winner, baseline, others = test.winner, test.baseline, several_answers(test)[1:]
    rows = []
    for name, support in winner.support.items():
        f1, baseline_f1 = winner.f1[name], None if baseline is None else baseline.f1[name]
        difference = None if f1 is None or baseline_f1 is None else f1.mean - baseline_f1.mean
        other_f1 = [spread(answer.winner.f1[name]) for answer in others]
        rows.append((name, str(support), spread(f1), spread(baseline_f1), points(difference), *other_f1))
    absent = [name for name, support in winner.support.items() if not support]
    explanation = "F1 of every class on test, mean ± standard deviation over the trainings."
    if absent:
        explanation += f" The test split has no utterance of {listed(absent)}."
    if others:
        explanation += " Winner, baseline and their difference are those of the configuration."
    head = ("", "utterances", *titles(data), "difference", *(answer.name for answer in others))
    return table(head, rows) + note(explanation)


def _picture(data: StudyData, test: TestRecord) -> str:
    figure, highest = go.Figure(), 1.0
    for name, title, colour, symbol in zip(
        ("winner", "baseline"), titles(data), (BLUE, ORANGE), ("circle", "square"), strict=True
    ):
        scores = test.side(name)
        if scores is None:
            continue
        f1 = {label: summary for label, summary in scores.f1.items() if summary is not None}
        deviations = [100 * (summary.std or 0) for summary in f1.values()]
        means = [100 * summary.mean for summary in f1.values()]
        highest = max(
            [highest, *(mean + deviation for mean, deviation in zip(means, deviations, strict=True))]
        )
        figure.add_scatter(
            x=means,
            y=list(f1),
            error_x={"type": "data", "array": deviations, "color": colour},
            mode="markers",
            orientation="h",
            name=title,
            marker={"color": colour, "symbol": symbol, "size": 10},
        )
    figure.update_layout(scattermode="group", scattergap=0.6)
    figure.update_xaxes(title_text="F1 (%)", range=[0, min(100, 1.05 * highest)])
    figure.update_yaxes(autorange="reversed", type="category")
    height = 120 + 34 * len(test.winner.f1)
    return chart(figure, "F1 of every class on test", height=height)


def _confusion(data: StudyData, scores: TestScores) -> str:
    names, shares = list(scores.support), row_shares(scores.confusion)
    percents = [[None if share is None else 100 * share for share in row] for row in shares]
    labels = [["" if share is None else f"{100 * share:.1f}" for share in row] for row in shares]
    figure = go.Figure(
        go.Heatmap(
            z=percents, x=names, y=names, text=labels, texttemplate="%{text}", colorscale="Blues",
            zmin=0, zmax=100, customdata=scores.confusion, colorbar={"title": "%", "thickness": 12},
            hovertemplate="%{y} predicted as %{x}: %{text} % (%{customdata})<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="predicted", showgrid=False, type="category")
    figure.update_yaxes(title_text="true", autorange="reversed", showgrid=False, type="category")
    reopened = f" ({data.reopened})" if data.reopened else ""
    caption = (
        "Percentage of the utterances of each true class that is predicted as each class; summed over the "
        f"winner's {counted(len(scores.seeds), 'training')}{reopened}."
    )
    height = 150 + 44 * len(names)
    width = 110 + 62 * len(names)
    return chart(
        figure, "confusion matrix of the winner on test", height=height, width=width, caption=caption
    )


def _single_training(data: StudyData) -> str:
    """F1 of every class of a single training, for a study without a final stage."""
    if "test" not in data.metrics:
        return note("Nothing has been tested.")
    rows = [(name, percent(f1)) for name, f1 in data.metrics["test"]["f1"].items()]
    head = ("", f"F1, test ({data.reopened})" if data.reopened else "F1, test")
    return table(head, rows) + note("Of one training. The confusion matrix needs a final stage.")
