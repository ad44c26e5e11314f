"""How the search went: the best score over trials and over time, and every learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from optuna.trial import TrialState
from optuna.visualization import plot_intermediate_values

from rigsl.wording import counted
from search.record import record
from search.record.states import state_name
from search.report.charts import chart
from search.report.clock import search_seconds
from search.report.data import Material
from search.report.html import drawn, note, section
from search.report.style import BLUE, GREY, INK, ORANGE, STATES
from search.report.trial_views import as_ended

F1 = "validation weighted F1 (%)"


@dataclass(frozen=True)
class Point:
    """A trial that ended with a score, in the order of the ends."""

    number: int
    hours: float  #: of search until its end
    score: float
    state: str  #: "complete" or "pruned"
    best: float  #: score so far


def points(m: Material) -> list[Point]:
    """The scored trials in the order of their ends."""
    trials = record.scored(m.study)
    seconds = search_seconds(trials, m.starts())
    found: list[Point] = []
    for trial, elapsed in zip(trials, seconds, strict=True):
        score = record.score(trial) or 0.0
        best = max(score, found[-1].best if found else score)
        found.append(Point(trial.number, elapsed / 3600, score, state_name(trial), best))
    return found


def history(m: Material) -> str:
    """The section on the best score so far."""
    found = points(m)
    title = "The best score so far"
    if not found:
        return section("history", title, note("No trial has a score."))
    hours = found[-1].hours
    unit, factor = ("hours", 1.0) if hours >= 2 else ("minutes", 60.0)
    over_trials = _steps(found, list(range(1, len(found) + 1)), "trials that ended with a score")
    over_time = _steps(found, [point.hours * factor for point in found], f"{unit} of search")
    return section(
        "history",
        title,
        chart(over_trials, "best score over trials", height=330),
        chart(over_time, "best score over time", height=330),
        note("Time counts while the search ran: pauses before a resume are left out."),
    )


def _steps(found: Sequence[Point], places: Sequence[float], title: str) -> go.Figure:
    figure = go.Figure()
    for state in ("pruned", "complete"):
        colour, symbol = STATES[state]
        at = [i for i, point in enumerate(found) if point.state == state]
        if not at:
            continue
        figure.add_scatter(
            x=[places[i] for i in at],
            y=[100 * found[i].score for i in at],
            text=[f"trial {found[i].number}" for i in at],
            mode="markers",
            name=state,
            marker={"color": colour, "symbol": symbol, "size": 8, "line": {"width": 1.5, "color": colour}},
            hovertemplate="%{text}: %{y:.2f} %<extra></extra>",
        )
    figure.add_scatter(
        x=list(places),
        y=[100 * point.best for point in found],
        mode="lines",
        name="best so far",
        line={"color": ORANGE, "shape": "hv", "width": 2.5},
        hoverinfo="skip",
    )
    whole = len(found) <= 10 and list(places) == list(range(1, len(found) + 1))
    figure.update_xaxes(title_text=title, rangemode="tozero", dtick=1 if whole else None)
    figure.update_yaxes(title_text=F1)
    return figure


def curves(m: Material) -> str:
    """The section on learning curves."""
    view = as_ended(m.study)
    known = [trial for trial in view.get_trials(deepcopy=False) if trial.intermediate_values]
    pruned = sum(trial.state == TrialState.PRUNED for trial in known)
    said = (
        f"The best score of a trial up to each epoch, which is what decides about its end. "
        f"{counted(pruned, 'trial')} stopped early fade: the lighter, the earlier."
    )
    return section(
        "curves",
        "Learning curves",
        drawn(lambda: _curves(m), "" if known else "No trial has finished an epoch."),
        note(said) if pruned else "",
    )


def _curves(m: Material) -> str:
    view = as_ended(m.study)
    figure = plot_intermediate_values(view)
    trials = {f"Trial{trial.number}": trial for trial in view.get_trials(deepcopy=False)}
    most = max(len(trial.intermediate_values) for trial in trials.values())
    winner, baseline = m.winner, m.baseline
    for trace in figure.data:
        trial = trials[trace.name]
        share = len(trial.intermediate_values) / most
        colour, width, opacity = GREY, 1.2, 0.25 + 0.6 * share
        if trial.state == TrialState.COMPLETE:
            colour, opacity = BLUE, 0.75
        if baseline is not None and trial.number == baseline.number:
            colour, width, opacity = INK, 2.5, 1.0
        if winner is not None and trial.number == winner.number:
            colour, width, opacity = ORANGE, 3.0, 1.0
        trace.update(
            y=[100 * value for value in trace.y],
            mode="lines" if len(trace.x) > 1 else "markers",
            line={"color": colour, "width": width},
            marker={"color": colour, "size": 5},
            opacity=opacity,
            name=f"trial {trial.number}",
            showlegend=False,
            hovertemplate="epoch %{x}: %{y:.2f} %",
        )
    _legend(figure, winner is not None, baseline is not None and not m.same)
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(title_text=F1)
    return chart(figure, "learning curves of all trials", height=400)


def _legend(figure: go.Figure, winner: bool, baseline: bool) -> None:
    entries = [
        ("winner", ORANGE, winner),
        ("baseline", INK, baseline),
        ("complete", BLUE, True),
        ("pruned", GREY, True),
    ]
    for name, colour, there in entries:
        if there:
            figure.add_scatter(
                x=[None], y=[None], mode="lines", name=name, line={"color": colour, "width": 2.5}
            )
