"""The learning curves of all trials."""

from __future__ import annotations

import plotly.graph_objects as go
from optuna.trial import TrialState
from optuna.visualization import plot_intermediate_values

from search.record.states import COMPLETE, PRUNED
from search.report.charts import chart, in_percent
from search.report.data import StudyData
from search.report.html import drawn, note
from search.report.sections.history import F1_TITLE
from search.report.style import BLUE, GREY, INK, ORANGE
from search.report.trial_views import ended_view


def content(data: StudyData) -> str:
    """The section."""
    trials = ended_view(data.study).get_trials(deepcopy=False)
    with_curve = [trial for trial in trials if trial.intermediate_values]
    pruned = any(trial.state == TrialState.PRUNED for trial in with_curve)
    explanation = (
        "The best score of a trial up to each epoch, which is what the scheduler compares. The earlier a "
        "trial was pruned, the paler its curve."
    )
    missing = "" if with_curve else "No trial has finished an epoch."
    return drawn(lambda: _figure(data), missing) + (note(explanation) if pruned else "")


def _figure(data: StudyData) -> str:
    view = ended_view(data.study)
    figure = plot_intermediate_values(view)
    trials = {f"Trial{trial.number}": trial for trial in view.get_trials(deepcopy=False)}
    most_epochs = max(len(trial.intermediate_values) for trial in trials.values())
    winner, baseline = data.winner, data.baseline
    for trace in figure.data:
        trial = trials[trace.name]
        share = len(trial.intermediate_values) / most_epochs
        colour, width, opacity = GREY, 1.2, 0.25 + 0.6 * share
        if trial.state == TrialState.COMPLETE:
            colour, opacity = BLUE, 0.75
        if baseline is not None and trial.number == baseline.number:
            colour, width, opacity = INK, 2.5, 1.0
        if winner is not None and trial.number == winner.number:
            colour, width, opacity = ORANGE, 3.0, 1.0
        trace.update(
            y=in_percent(trace.y),
            mode="lines" if len(trace.x) > 1 else "markers",
            line={"color": colour, "width": width},
            marker={"color": colour, "size": 5},
            opacity=opacity,
            name=f"trial {trial.number}",
            showlegend=False,
            hovertemplate="epoch %{x}: %{y:.2f} %",
        )
    _add_legend(figure, winner is not None, baseline is not None and not data.baseline_won)
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(title_text=F1_TITLE)
    return chart(figure, "learning curves of all trials", height=400)


def _add_legend(figure: go.Figure, winner: bool, baseline: bool) -> None:
    """Entries for the kinds of curves: one for every trial would be too many."""
    entries = [
        ("winner", ORANGE, winner),
        ("baseline", INK, baseline),
        (COMPLETE, BLUE, True),
        (PRUNED, GREY, True),
    ]
    for name, colour, shown in entries:
        if shown:
            line = {"color": colour, "width": 2.5}
            figure.add_scatter(x=[None], y=[None], mode="lines", name=name, line=line)
