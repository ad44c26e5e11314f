"""Hyperparameters and score: slices, parallel coordinates, and a contour of the two most important ones."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import plotly.graph_objects as go
from optuna.trial import FrozenTrial
from optuna.visualization import plot_contour, plot_parallel_coordinate, plot_slice

from rigsl.wording import counted
from search.record import record
from search.record.states import state_name
from search.report.charts import chart
from search.report.data import StudyData
from search.report.format import value_text
from search.report.html import drawn, folded, heading, note
from search.report.style import STATE_STYLES
from search.report.trial_views import StudyView, scored_trials, scored_view

#: Slices that are shown without a click, and axes of the parallel coordinates.
SLICES, AXES = 9, 7
_TARGET = "F1 (%)"


def content(data: StudyData) -> str:
    """The section; the most important parameters come first."""
    importances = data.importances
    order = list(data.space.parameters) if importances is None else importances.order
    view, trials = scored_view(data.study, 100), scored_trials(data.study)
    drawn_in_some = [name for name in order if any(name in trial.params for trial in trials)]
    drawn_in_all = [name for name in drawn_in_some if all(name in trial.params for trial in trials)]
    missing = ""
    if len(trials) < 2 or not drawn_in_some:
        missing = f"This needs 2 trials with a score; there {_are(len(trials))}."
    return "".join(
        [
            heading("Slices"),
            drawn(lambda: _slices(data, view, drawn_in_some), missing),
            heading("Parallel coordinates"),
            drawn(lambda: _parallel(view, drawn_in_some), missing),
            heading("The two most important hyperparameters together"),
            drawn(lambda: _contour(view, drawn_in_all), _missing_for_contour(trials, drawn_in_all)),
        ]
    )


def _are(number: int) -> str:
    return f"{'is' if number == 1 else 'are'} {number or 'none'}"


def _missing_for_contour(trials: Sequence[FrozenTrial], names: Sequence[str]) -> str:
    """Why the contour cannot be drawn; empty: it can."""
    if len(trials) < 5 or len(names) < 2:
        return (
            f"This needs 5 trials with a score, and 2 parameters in all of them; there {_are(len(trials))}."
        )
    for name in names[:2]:
        if len({trial.params[name] for trial in trials}) < 2:
            return f"This needs more than one value of {name}."
    return ""


def _without_warnings(draw: Callable[[], go.Figure]) -> go.Figure:
    with warnings.catch_warnings():  # Optuna marks some of its plots as experimental
        warnings.simplefilter("ignore")
        return draw()


def _slices(data: StudyData, view: StudyView, names: Sequence[str]) -> str:
    states = {trial.number: state_name(trial) for trial in record.finished(data.study)}
    figures = [_slice(data, view, name, states) for name in names]
    rest = len(figures) - SLICES
    first = f'<div class="grid">{"".join(figures[:SLICES])}</div>'
    others = f'<div class="grid">{"".join(figures[SLICES:])}</div>' if rest > 0 else ""
    explanation = (
        "Validation weighted F1 in percent; blue dots are complete trials, grey crosses pruned ones."
    )
    return note(explanation) + first + folded(counted(rest, "more parameter"), others)


def _slice(data: StudyData, view: StudyView, name: str, states: dict[int, str]) -> str:
    figure = _without_warnings(lambda: plot_slice(view, params=[name]))
    for trace in figure.data:
        numbers = list(trace.marker.color)  # Optuna colours by trial
        colours, symbols = zip(*(STATE_STYLES[states[number]] for number in numbers), strict=True)
        trace.marker = {
            "color": colours,
            "symbol": symbols,
            "size": 7,
            "line": {"width": 1.2, "color": colours},
        }
        trace.update(
            text=[f"trial {number}" for number in numbers], hovertemplate="%{text}: %{x}, %{y:.2f} %"
        )
    figure.update_yaxes(title_text=None)
    parameter = data.space.parameters[name]
    if parameter.kind == "choice":  # Optuna shows the repr of a choice
        figure.update_xaxes(tickvals=[repr(value) for value in parameter.values],
                            ticktext=[value_text(value) for value in parameter.values])  # fmt: skip
    elif parameter.log:
        decades = math.log10(parameter.high / parameter.low)
        figure.update_xaxes(dtick=1 if decades >= 2 else "D2", exponentformat="e")
    return chart(figure, f"score over {name}", height=190, bare=True)


def _parallel(view: StudyView, names: Sequence[str]) -> str:
    axes = list(names[:AXES])
    figure = _without_warnings(lambda: plot_parallel_coordinate(view, params=axes, target_name=_TARGET))
    caption = (
        "One line per trial, the darker the better; axes: the "
        f"{counted(len(axes), 'most important parameter')}."
    )
    width = 110 * (len(axes) + 1)
    return chart(figure, "parallel coordinates of the trials", height=400, width=width, caption=caption)


def _contour(view: StudyView, names: Sequence[str]) -> str:
    pair = list(names[:2])
    figure = _without_warnings(lambda: plot_contour(view, params=pair, target_name=_TARGET))
    caption = "Points are trials; the surface between them is interpolated, which is no more than a guess."
    return chart(figure, f"score over {pair[0]} and {pair[1]}", height=400, caption=caption, bare=True)
