"""The report's most important figures as PNG, for a README or a slide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay

from rigsl.files import replacing
from search.confirm.final_record import FinalistsRecord, TestRecord
from search.confirm.summary import TestScores
from search.report.data import Material
from search.report.importance import Importances
from search.report.sections.history import points
from search.report.sections.importance import NAMES, opacities
from search.report.style import BLUE, GREY, INK, ORANGE, STATES

HISTORY, RESULT, FINALISTS, CONFUSION, IMPORTANCE = (
    f"{name}.png" for name in ("history", "winner-baseline", "finalists", "confusion", "importance")
)
_MARKERS = {"complete": "o", "pruned": "x"}


def draw_pictures(m: Material, found: Importances | None) -> None:
    """Write the pictures into the run folder; what cannot be drawn any more does not stay from before."""
    test, finalists = m.final.test, m.final.finalists
    history = (8.0, 3.6), lambda axes: _history(m, axes)
    drawings: dict[str, tuple[tuple[float, float], Callable[[Axes], None]] | None] = {
        HISTORY: history,
        RESULT: None if test is None else ((8.0, 2.9), lambda axes: _result(m, test, axes)),
        FINALISTS: None if not (finalists and finalists.candidates) else (
            (8.0, 1.4 + 0.45 * len(finalists.candidates)), lambda axes: _finalists(finalists, axes)),
        CONFUSION: None if test is None else ((6.4, 5.6), lambda axes: _confusion(m, test.winner, axes)),
        IMPORTANCE: None if found is None else (
            (8.0, 1.2 + 0.3 * len(found.order)), lambda axes: _importance(found, axes)),
    }  # fmt: skip
    for name, drawing in drawings.items():
        if drawing is None:
            (m.folder / name).unlink(missing_ok=True)
        else:
            _save(m.folder / name, *drawing)


def _save(path: Path, size: tuple[float, float], draw: Callable[[Axes], None]) -> None:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _history(m: Material, axes: Axes) -> None:
    found = points(m)
    for state, marker in _MARKERS.items():
        at = [
            (place, 100 * point.score) for place, point in enumerate(found, start=1) if point.state == state
        ]
        if at:
            colour = STATES[state][0]
            axes.scatter(
                [x for x, _ in at], [y for _, y in at], s=26, color=colour, marker=marker, label=state
            )
    if found:
        best = [100 * point.best for point in found]
        axes.step(range(1, len(found) + 1), best, where="post", color=ORANGE, lw=2, label="best so far")
        axes.legend(frameon=False, loc="lower right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trials that ended with a score", ylabel="validation weighted F1 (%)")


def _result(m: Material, test: TestRecord, axes: Axes) -> None:
    sides = {name: test.side(name) for name in ("winner", "baseline")}
    tested = {name: scores for name, scores in sides.items() if scores is not None}
    names = list(tested)
    for row, (name, scores) in enumerate(tested.items()):
        colour, marker = {"winner": (BLUE, "o"), "baseline": (ORANGE, "s")}[name]
        values, interval = scores.weighted_f1.values, scores.interval
        mean = float(np.mean(values))
        if interval is not None:
            axes.hlines(row, 100 * interval.low, 100 * interval.high, color=colour, lw=2)
        axes.scatter(
            [100 * value for value in values], [row] * len(values), color=colour, marker=marker, alpha=0.55
        )
        axes.scatter([100 * mean], [row], color=colour, marker="|", s=500, linewidths=3)
        axes.annotate(
            f"{100 * mean:.2f} %", (100 * mean, row), (0, 15), textcoords="offset points", ha="center"
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.7)
    again = f" ({m.again})" if m.again else ""
    axes.set(xlabel=f"test weighted F1 (%){again}: trainings, their mean, its 95 % interval")


def _finalists(found: FinalistsRecord, axes: Axes) -> None:
    labels = ["a fresh seed", "mean ± standard error", "search score"]
    for row, one in enumerate(found.candidates):
        colour = BLUE if one.state == "winner" else INK
        scores = [100 * score for score in one.scores if score is not None]
        axes.scatter(scores, [row] * len(scores), color=GREY, s=28, label=labels[0])
        if one.mean is not None:
            error = 100 * (one.standard_error or 0)
            axes.errorbar(100 * one.mean, row, xerr=error, fmt="D", color=colour, label=labels[1])
        axes.scatter([100 * one.search_score], [row], color=ORANGE, marker="x", s=50, label=labels[2])
        labels = ["_"] * 3  # in the legend once
    axes.set_yticks(range(len(found.candidates)), [f"trial {one.trial}" for one in found.candidates])
    axes.invert_yaxis()
    axes.set(xlabel="validation weighted F1 (%)")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def _confusion(m: Material, found: TestScores, axes: Axes) -> None:
    matrix = np.asarray(found.confusion, dtype=np.float64)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(shares, display_labels=list(found.support))
    display.plot(ax=axes, cmap="Blues", values_format=".1f", xticks_rotation=40, colorbar=False)
    axes.spines[:].set_visible(False)
    again = f", {m.again}" if m.again else ""
    axes.set_title(f"of a true class, % predicted as each (test{again})", fontsize=10)


def _importance(found: Importances, axes: Axes) -> None:
    order, height = found.order, 0.38
    methods: list[Any] = [(NAMES[0], found.ped_anova, BLUE), (NAMES[1], found.fanova, ORANGE)]
    for i, (name, one, colour) in enumerate(methods):
        names = [parameter for parameter in order if parameter in one.shares]
        places = [order.index(parameter) + height * (i - 0.5) for parameter in names]
        bars = axes.barh(places, [100 * one.shares[parameter] for parameter in names], height, color=colour)
        for bar, opacity in zip(bars, opacities(one, names), strict=True):
            bar.set_alpha(opacity)
        axes.barh([0], [0], color=colour, label=name)
    axes.set_yticks(range(len(order)), order)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set(xlabel="share (%); faint: chance gives as much")
    axes.legend(frameon=False, loc="lower right")
