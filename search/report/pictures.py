"""The most important figures of the report as PNG files, for a README or a slide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay

from rigsl.files import replacing
from rigsl.pictures import drawing
from rigsl.wording import percent
from search.confirm.answers import several_answers
from search.confirm.final_record import FinalistsRecord, TestRecord
from search.confirm.summary import TestScores
from search.record.states import COMPLETE, PRUNED
from search.report.answers import side_title
from search.report.data import StudyData
from search.report.importance import Importances
from search.report.incumbent import incumbent_curve
from search.report.sections.finalists import score_titles
from search.report.sections.importance import METHODS, opacities
from search.report.style import BLUE, GREY, INK, ORANGE, STATE_STYLES

HISTORY, RESULT, FINALISTS, CONFUSION, IMPORTANCE = (
    f"{name}.png" for name in ("history", "winner-baseline", "finalists", "confusion", "importance")
)
#: Matplotlib's markers for the states of trials.
_MARKERS = {COMPLETE: "o", PRUNED: "x"}
Drawing = tuple[tuple[float, float], Callable[[Axes], None]]  #: size in inches, and what draws it


def draw_pictures(data: StudyData) -> None:
    """Write the pictures into the run folder; remove old ones that cannot be drawn any more."""
    for name, picture in _drawings(data).items():
        if picture is None:
            (data.folder / name).unlink(missing_ok=True)
        else:
            _save(data.folder / name, *picture)


def _drawings(data: StudyData) -> dict[str, Drawing | None]:
    """File name -> drawing; None: the study has not got that far."""
    test, finalists, importances = data.final.test, data.final.finalists, data.importances
    drawings: dict[str, Drawing | None] = dict.fromkeys((RESULT, FINALISTS, CONFUSION, IMPORTANCE))
    drawings[HISTORY] = (8.0, 3.6), lambda axes: _history(data, axes)
    if test is not None:
        rows = _result_rows(test)
        drawings[RESULT] = (8.0, 1.7 + 0.6 * max(2, len(rows))), lambda axes: _result(data, rows, axes)
        drawings[CONFUSION] = (6.4, 5.6), lambda axes: _confusion(data, test.winner, axes)
    if finalists is not None and finalists.candidates:
        height = 1.4 + 0.45 * len(finalists.candidates)
        drawings[FINALISTS] = (8.0, height), lambda axes: _finalists(finalists, axes)
    if importances is not None:
        height = 1.2 + 0.3 * len(importances.order)
        drawings[IMPORTANCE] = (8.0, height), lambda axes: _importance(importances, axes)
    return drawings


def _save(path: Path, size: tuple[float, float], draw: Callable[[Axes], None]) -> None:
    with drawing():
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        with replacing(path, parents=False) as temporary:
            figure.savefig(temporary, dpi=150, format="png")


def _history(data: StudyData, axes: Axes) -> None:
    curve = incumbent_curve(data)
    for state, marker in _MARKERS.items():
        scores = [
            (position, 100 * point.score)
            for position, point in enumerate(curve, start=1)
            if point.state == state
        ]
        if scores:
            colour = STATE_STYLES[state][0]
            x, y = [x for x, _ in scores], [y for _, y in scores]
            axes.scatter(x, y, s=26, color=colour, marker=marker, label=state)
    if curve:
        best = [100 * point.best for point in curve]
        axes.step(range(1, len(curve) + 1), best, where="post", color=ORANGE, lw=2, label="best so far")
        axes.legend(frameon=False, loc="lower right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trials that ended with a score", ylabel="validation weighted F1 (%)")


def _result_rows(test: TestRecord) -> list[tuple[str, str, TestScores]]:
    """Title, side and scores of every row: winner and baseline, in the form of each answer of the study."""
    sides = [(side, side, test.side(side)) for side in ("winner", "baseline")]
    for answer in several_answers(test)[1:]:
        sides += [(side_title(answer, side), side, answer.side(side)) for side in ("winner", "baseline")]
    return [(title, side, scores) for title, side, scores in sides if scores is not None]


def _result(data: StudyData, rows: Sequence[tuple[str, str, TestScores]], axes: Axes) -> None:
    for row, (_, side, scores) in enumerate(rows):
        colour, marker = {"winner": (BLUE, "o"), "baseline": (ORANGE, "s")}[side]
        values, interval = scores.weighted_f1.values, scores.interval
        mean = float(np.mean(values))
        if interval is not None:
            axes.hlines(row, 100 * interval.low, 100 * interval.high, color=colour, lw=2)
        axes.scatter(
            [100 * value for value in values], [row] * len(values), color=colour, marker=marker, alpha=0.55
        )
        axes.scatter([100 * mean], [row], color=colour, marker="|", s=500, linewidths=3)
        axes.annotate(percent(mean), (100 * mean, row), (0, 15), textcoords="offset points", ha="center")
    axes.set_yticks(range(len(rows)), [title for title, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.7)
    reopened = f" ({data.reopened})" if data.reopened else ""
    axes.set(xlabel=f"test weighted F1 (%){reopened}: trainings, their mean, its 95 % interval")


def _finalists(finalists: FinalistsRecord, axes: Axes) -> None:
    one_score, axis = score_titles(finalists)
    labels = [one_score, "mean ± standard error", "search score"]
    for row, finalist in enumerate(finalists.candidates):
        colour = BLUE if finalist.state == "winner" else INK
        scores = [100 * score for score in finalist.scores if score is not None]
        axes.scatter(scores, [row] * len(scores), color=GREY, s=28, label=labels[0])
        if finalist.mean is not None:
            error = 100 * (finalist.standard_error or 0)
            axes.errorbar(100 * finalist.mean, row, xerr=error, fmt="D", color=colour, label=labels[1])
        axes.scatter([100 * finalist.search_score], [row], color=ORANGE, marker="x", s=50, label=labels[2])
        labels = ["_"] * 3  # later rows are not in the legend
    names = [f"trial {finalist.trial}" for finalist in finalists.candidates]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel=axis)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def _confusion(data: StudyData, scores: TestScores, axes: Axes) -> None:
    matrix = np.asarray(scores.confusion, dtype=np.float64)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(shares, display_labels=list(scores.support))
    display.plot(ax=axes, cmap="Blues", values_format=".1f", xticks_rotation=40, colorbar=False)
    axes.spines[:].set_visible(False)
    reopened = f", {data.reopened}" if data.reopened else ""
    axes.set_title(f"confusion matrix, % of each true class (test{reopened})", fontsize=10)


def _importance(importances: Importances, axes: Axes) -> None:
    order, height = importances.order, 0.38
    methods = zip(METHODS, (importances.ped_anova, importances.fanova), (BLUE, ORANGE), strict=True)
    for i, (method, importance, colour) in enumerate(methods):
        names = [name for name in order if name in importance.shares]
        positions = [order.index(name) + height * (i - 0.5) for name in names]
        bars = axes.barh(positions, [100 * importance.shares[name] for name in names], height, color=colour)
        for bar, opacity in zip(bars, opacities(importance, names), strict=True):
            bar.set_alpha(opacity)
        axes.barh([0], [0], color=colour, label=method)
    axes.set_yticks(range(len(order)), order)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set(xlabel="share (%); faint: not beyond chance")
    axes.legend(frameon=False, loc="lower right")
