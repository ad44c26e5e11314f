"""Parameters and score: slices, parallel coordinates, and a contour of the two that matter most."""

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
from search.report.data import Material
from search.report.format import value_text
from search.report.html import drawn, folded, heading, note, section
from search.report.style import STATES
from search.report.trial_views import View, as_scored, scored

#: So many parameters are shown at once; the slices of the others on a click.
SLICES, AXES = 9, 7
_TARGET = "F1 (%)"


def landscape(m: Material, order: Sequence[str]) -> str:
    """The section; `order`: the parameters, the most important first."""
    view, trials = as_scored(m.study, 100), scored(m.study)
    known = [name for name in order if any(name in trial.params for trial in trials)]
    few = (
        "" if len(trials) >= 2 and known else f"This needs 2 trials with a score; there {_are(len(trials))}."
    )
    common = [name for name in known if all(name in trial.params for trial in trials)]
    return section(
        "landscape",
        "Parameters and score",
        heading("Slices"),
        drawn(lambda: _slices(m, view, known), few),
        heading("Parallel coordinates"),
        drawn(lambda: _parallel(view, known), few),
        heading("The two most important together"),
        drawn(lambda: _contour(view, common), _few_for_contour(trials, common)),
    )


def _are(number: int) -> str:
    return f"{'is' if number == 1 else 'are'} {number or 'none'}"


def _few_for_contour(trials: Sequence[FrozenTrial], common: Sequence[str]) -> str:
    if len(trials) < 5 or len(common) < 2:
        return (
            f"This needs 5 trials with a score, and 2 parameters in all of them; there {_are(len(trials))}."
        )
    for name in common[:2]:
        if len({trial.params[name] for trial in trials}) < 2:
            return f"This needs more than one value of {name}."
    return ""


def _quietly(draw: Callable[[], go.Figure]) -> go.Figure:
    with warnings.catch_warnings():  # Optuna calls some of its plots experimental
        warnings.simplefilter("ignore")
        return draw()


def _slices(m: Material, view: View, names: Sequence[str]) -> str:
    states = {trial.number: state_name(trial) for trial in record.finished(m.study)}
    figures = [_slice(m, view, name, states) for name in names]
    rest = len(figures) - SLICES
    shown = f'<div class="grid">{"".join(figures[:SLICES])}</div>'
    hidden = f'<div class="grid">{"".join(figures[SLICES:])}</div>' if rest > 0 else ""
    said = "Validation weighted F1 in percent; blue dots are complete trials, grey crosses stopped ones."
    return note(said) + shown + folded(f"{counted(rest, 'more parameter')}", hidden)


def _slice(m: Material, view: View, name: str, states: dict[int, str]) -> str:
    figure = _quietly(lambda: plot_slice(view, params=[name]))
    for trace in figure.data:
        numbers = list(trace.marker.color)  # Optuna colours by trial
        colours, symbols = zip(*(STATES[states[number]] for number in numbers), strict=True)
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
    parameter = m.space.parameters[name]
    if parameter.kind == "choice":  # Optuna writes a choice as Python does
        figure.update_xaxes(tickvals=[repr(value) for value in parameter.values],
                            ticktext=[value_text(value) for value in parameter.values])  # fmt: skip
    elif parameter.log:
        decades = math.log10(parameter.high / parameter.low)
        figure.update_xaxes(dtick=1 if decades >= 2 else "D2", exponentformat="e")
    return chart(figure, f"score over {name}", height=190, bare=True)


def _parallel(view: View, names: Sequence[str]) -> str:
    shown = list(names[:AXES])
    figure = _quietly(lambda: plot_parallel_coordinate(view, params=shown, target_name=_TARGET))
    axes = counted(len(shown), "most important parameter")
    said = f"A line is a trial, the darker the better; the axes are the {axes}."
    width = 110 * (len(shown) + 1)
    return chart(figure, "parallel coordinates of the trials", height=400, width=width, caption=said)


def _contour(view: View, common: Sequence[str]) -> str:
    names = list(common[:2])
    figure = _quietly(lambda: plot_contour(view, params=names, target_name=_TARGET))
    said = "Points are trials; between them the surface is interpolated, and no more than a guess."
    return chart(figure, f"score over {names[0]} and {names[1]}", height=400, caption=said, bare=True)
