"""The best score so far (the incumbent's) over trials and over time."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from search.record.states import COMPLETE, PRUNED
from search.report.charts import chart, in_percent
from search.report.data import StudyData
from search.report.html import note
from search.report.incumbent import IncumbentPoint, incumbent_curve
from search.report.style import ORANGE, STATE_STYLES

#: Title of the axis of scores.
F1_TITLE = "validation weighted F1 (%)"
#: With at most this many trials, each has a tick.
TICKS = 10


def content(data: StudyData) -> str:
    """The section."""
    curve = incumbent_curve(data)
    if not curve:
        return note("No trial has a score.")
    unit, factor = ("hours", 1.0) if curve[-1].hours >= 2 else ("minutes", 60.0)
    over_trials = _figure(curve, list(range(1, len(curve) + 1)), "trials that ended with a score")
    if len(curve) <= TICKS:
        over_trials.update_xaxes(dtick=1)
    over_time = _figure(curve, [point.hours * factor for point in curve], f"{unit} of search")
    return (
        chart(over_trials, "best score over trials", height=330)
        + chart(over_time, "best score over time", height=330)
        + note("Only the time of the search counts: pauses before a resume are left out.")
    )


def _figure(curve: Sequence[IncumbentPoint], x: Sequence[float], x_title: str) -> go.Figure:
    """The scores of all trials, and the best one so far as a step function."""
    figure = go.Figure()
    for state in (PRUNED, COMPLETE):
        colour, symbol = STATE_STYLES[state]
        indices = [i for i, point in enumerate(curve) if point.state == state]
        if not indices:
            continue
        figure.add_scatter(
            x=[x[i] for i in indices],
            y=in_percent([curve[i].score for i in indices]),
            text=[f"trial {curve[i].number}" for i in indices],
            mode="markers",
            name=state,
            marker={"color": colour, "symbol": symbol, "size": 8, "line": {"width": 1.5, "color": colour}},
            hovertemplate="%{text}: %{y:.2f} %<extra></extra>",
        )
    figure.add_scatter(
        x=list(x),
        y=in_percent([point.best for point in curve]),
        mode="lines",
        name="best so far",
        line={"color": ORANGE, "shape": "hv", "width": 2.5},
        hoverinfo="skip",
    )
    figure.update_xaxes(title_text=x_title, rangemode="tozero")
    figure.update_yaxes(title_text=F1_TITLE)
    return figure
