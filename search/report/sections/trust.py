"""Whether the search can be trusted: its checks, what was expected of test, and overtuning."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from rigsl.wording import counted, points
from search.report.charts import chart, in_percent
from search.report.data import StudyData
from search.report.html import drawn, heading, note, paragraph, table
from search.report.style import BLUE, ORANGE
from search.trust.expectation import against_tested, in_words
from search.trust.trust_record import CurvePoint, ExpectedScore, TrustRecord

METHOD = (
    "Expected score: the winner's mean in the finals, drawn towards that of all finalists as far as the "
    "ranking is unreliable (selection bias), with the corrections below. The interval is for the mean that "
    "is measured on test; it was recorded before test was opened, and does not change afterwards."
)


def content(data: StudyData) -> str:
    """The section."""
    trust = data.final.trust
    if trust is None:
        return note(_missing(data))
    rows = [(check.title, check.verdict, check.figure, check.advice) for check in trust.checks]
    return "".join(
        [
            _expectation(data, trust),
            heading("Checks"),
            table(("check", "verdict", "figure", "advice"), rows, words=range(4)),
            _overtuning(trust.curve),
        ]
    )


def _missing(data: StudyData) -> str:
    """Why there is nothing to show."""
    if data.final.test is not None:
        return (
            "Test was opened by a version that recorded no expectation before. It is not made up for: what "
            "is known of test must not decide what was expected of it."
        )
    return "Known when the trainings of the final stage have ended, before test is opened."


def _expectation(data: StudyData, trust: TrustRecord) -> str:
    expected, when = trust.expected, trust.at.replace("T", " ")
    opened = ""
    if trust.openings:
        opened = f" Test had been opened {counted(trust.openings, 'time')} before, so it is no forecast."
    if expected is None:
        return paragraph(f"No test score is expected: {trust.unexpected}.")
    text = f"Expected on test, recorded {when}: {in_words(expected)}."
    if data.final.test is not None:
        result = against_tested(expected, data.final.test.winner.weighted_f1.mean)
        text += f" Then {result}."
    return paragraph(text + opened) + note(METHOD) + _parts(expected)


def _parts(expected: ExpectedScore) -> str:
    """Corrections and errors, in points."""
    names = dict.fromkeys((*expected.errors, *expected.corrections))
    rows = [
        (
            name,
            points(expected.corrections[name]) if name in expected.corrections else "",
            f"{100 * expected.errors[name]:.2f}" if name in expected.errors else "",
        )
        for name in names
    ]
    rows.append(
        ("together", points(sum(expected.corrections.values())), f"{100 * expected.standard_error:.2f}")
    )
    return table(("source", "correction, points", "standard error, points"), rows, marked=len(rows) - 1)


def _overtuning(curve: Sequence[CurvePoint]) -> str:
    """The best finalist so far, on validation and in the finals."""
    if len(curve) < 2:
        return ""
    explanation = (
        "The best of the finalists so far on validation, and its shrunken mean in the finals. Where the "
        "upper line rises and the lower one does not, the search picks luck (overtuning)."
    )
    return heading("Overtuning") + drawn(lambda: _picture(curve)) + note(explanation)


def _picture(curve: Sequence[CurvePoint]) -> str:
    figure, x = go.Figure(), [point.trials for point in curve]
    for title, scores, colour in (
        ("best so far, search score", [point.search_score for point in curve], ORANGE),
        ("the same in the finals", [point.final_score for point in curve], BLUE),
    ):
        figure.add_scatter(
            x=x,
            y=in_percent(scores),
            text=[f"trial {point.trial}" for point in curve],
            mode="lines+markers",
            name=title,
            line={"color": colour, "shape": "hv", "width": 2.5},
            hovertemplate="%{text}: %{y:.2f} %<extra></extra>",
        )
    figure.update_xaxes(title_text="trials that ended with a score", rangemode="tozero")
    figure.update_yaxes(title_text="weighted F1 (%)")
    return chart(figure, "best finalist so far, on validation and in the finals", height=330)
