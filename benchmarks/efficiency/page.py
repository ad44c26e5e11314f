"""The results of simulated studies as one page and one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.efficiency.run_study import BUDGETS, GRID, OURS, Result
from benchmarks.efficiency.summaries import (
    ABLATION_HEAD,
    CHANCE,
    HEAD,
    Comparison,
    ablation_cells,
    best,
    cells,
    points,
)
from rigsl.files import replacing, write_text
from rigsl.wording import counted
from search.report.charts import chart
from search.report.html import (
    code,
    note,
    pairs,
    paragraph,
    section,
    table,
    text,
)
from search.report.page import document
from search.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE

#: Of the rivals, in their order; random and ours have their own.
COLOURS = (ORANGE, GREEN, PURPLE, "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#bcbd22")


@dataclass(frozen=True)
class Material:
    """What the page shows; the keys are numbers of workers."""

    rivals: Mapping[int, Comparison]
    variants: Mapping[int, Comparison]
    curves: Mapping[int, Mapping[str, Sequence[Result]]]
    trust: Mapping[str, float]
    studies: int
    surrogate: str
    trainings: int
    hours: Mapping[int, float]


def write(folder: Path, m: Material) -> None:
    """``report.html`` and ``efficiency.png`` in `folder`."""
    write_text(folder / "report.html", _page(m))
    _picture(folder / "efficiency.png", m)


def _page(m: Material) -> str:
    title = "What a search finds per hour"
    parts = [f"<header><h1>{text(title)}</h1>{paragraph(claim(m), 'claim')}</header>"]
    for workers in m.rivals:
        name = f"{counted(workers, 'worker')}"
        rivals, variants = m.rivals[workers], m.variants[workers]
        parts.append(
            section(
                f"rivals-{workers}",
                f"Against other ways, {name}",
                chart(_figure(m, workers), f"Best score against time, {name}", height=440, width=560,
                      caption="Median of the best validation score seen so far, with its 95 % interval; "
                      "simulated hours of one core a worker."),
                table(HEAD, cells(rivals), marked=list(rivals.rows.index).index(OURS)),
                note(
                    f"{m.studies} studies each, the same seeds for all; intervals: 95 %, "
                    "bootstrap over studies. p: "
                    "Wilcoxon's signed-rank test of ours against this method at full time, "
                    "two-sided, by Holm. "
                    f"Friedman's test of equal ranks: p = {rivals.friedman:.1g}. Time: share of "
                    "the budget until "
                    "random search's median result. Optimism: the best trial's score in the "
                    "search less its mean over new "
                    "seeds. Finalists' worth: test F1 of the finals' winner less that of the "
                    "best trial of a search that "
                    "had the finals' time as well."
                ),
            )
        )  # fmt: skip
        parts.append(
            section(
                f"variants-{workers}",
                f"Ours with one thing changed, {name}",
                table(ABLATION_HEAD, ablation_cells(variants), marked=list(variants.rows.index).index(OURS)),
                note("The difference is the mean over the study seeds that both played. "
                     "Confirmed: the finals' winner over its new seeds."),
            )
        )  # fmt: skip
    parts.append(section("trust", "How far to trust this", _trust(m), pairs(_numbers(m.trust))))
    parts.append(section("again", "Again", code("make efficiency")))
    return document(title, parts)


def claim(m: Material) -> str:
    """The outcome in a few sentences."""
    said = []
    for workers, comparison in m.rivals.items():
        rows = comparison.rows
        ours, others = rows.loc[OURS], rows.drop(index=OURS)
        behind = {
            when: [name for name, row in others.iterrows() if row[when].value >= ours[when].value]
            for when in ("half", "full")
        }
        strongest = max(others.index, key=lambda name: others.loc[name, "full"].value)
        lead = ours["full"].value - others.loc[strongest, "full"].value
        beaten = "no other way is better in the median at half or full time"
        if any(behind.values()):
            named = sorted({*behind["half"], *behind["full"]})
            beaten = f"not better in the median, at half or full time, than: {', '.join(named)}"
        said.append(
            f"With {counted(workers, 'worker')}, ours reaches random search's result in "
            f"{ours['time'].value:.2f} of its time and ends at {points(ours['full'])}, "
            f"{abs(100 * lead):.2f} points {'ahead of' if lead > 0 else 'behind'} {strongest}; {beaten}."
        )
    return " ".join(said)


def _trust(m: Material) -> str:
    known = m.trust
    first = (
        f"The curves are predicted by a surrogate ({m.surrogate}) from {m.trainings} real "
        "trainings. On random configurations "
        f"that were left out, its best scores are off by {100 * known['rmse']:.1f} points (root "
        "mean square; they spread by "
        f"{100 * known['spread']:.1f}), with a rank correlation of {known['rank']:.2f}, among "
        "the best 30 % of "
        f"{known['rank_of_best']:.2f}."
    )
    parts = [first]
    if "best" in known:
        parts.append(
            f"Of the {known['best']:.0f} real configurations that are best on validation, the scores on test "
            f"have a rank correlation of {known['best_on_test']:.2f} with those on validation."
        )
    if "found" in known:
        parts.append(_found(known))
    return "".join(map(paragraph, parts))


def _found(known: Mapping[str, float]) -> str:
    return (
        f"The best configurations of {known['found']:.0f} simulated searches were trained for "
        "real: a surrogate that did not "
        f"know them had predicted {100 * known['found_predicted']:.2f} in the mean, "
        f"{100 * known['found_mean']:.2f} came out. "
        "They are part of the table now."
    )


def _numbers(trust: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), f"{value:g}") for name, value in trust.items()]


def _looks(names: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Method -> colour and width."""
    rest = iter(COLOURS)
    return {
        name: (BLUE, 3.0) if name == OURS else (GREY, 2.0) if name == CHANCE else (next(rest), 1.6)
        for name in names
    }


def _bands(results: Sequence[Result]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median of the best scores in percent and its 95 % bootstrap interval, at GRID's times."""
    curves = 100 * best(results)
    chosen = np.random.default_rng(0).integers(len(curves), size=(1000, len(curves)))
    low, high = np.percentile(np.median(curves[chosen], axis=1), [2.5, 97.5], axis=0)
    return np.median(curves, axis=0), low, high


def _figure(m: Material, workers: int) -> go.Figure:
    figure, hours = go.Figure(), GRID * m.hours[workers]
    found = m.curves[workers]
    for name, (colour, width) in _looks(list(found)).items():
        middle, low, high = _bands(found[name])
        figure.add_scatter(
            x=np.concatenate([hours, hours[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
            fillcolor=colour, opacity=0.12, line={"width": 0}, legendgroup=name, showlegend=False,
            hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=hours, y=middle, name=name, line={"color": colour, "width": width}, legendgroup=name,
            hovertemplate=f"{name}: %{{y:.2f}} after %{{x:.2f}} h<extra></extra>",
        )  # fmt: skip
    last, highest = (
        100 * np.median(best(found[CHANCE])[:, -1]),
        max(_bands(one)[2][-1] for one in found.values()),
    )
    figure.update_yaxes(title="best validation weighted F1, %", range=[last - 6, highest + 0.5])
    figure.update_xaxes(title=f"simulated hours, {counted(workers, 'worker')}")
    return figure


def _picture(path: Path, m: Material) -> None:
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(1, len(m.curves), sharey=True, squeeze=False)[0]
    for axes, (workers, found) in zip(places, m.curves.items(), strict=True):
        hours = GRID * m.hours[workers]
        for name, (colour, width) in _looks(list(found)).items():
            middle, low, high = _bands(found[name])
            axes.fill_between(hours, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(hours, middle, color=colour, linewidth=width, label=name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(
            title=f"{counted(workers, 'worker')}, {BUDGETS[workers]:.0f} trainings' time each",
            xlabel="simulated hours",
        )
    floor = min(np.median(best(found[CHANCE])[:, -1]) for found in m.curves.values())
    places[0].set(ylabel="best validation weighted F1, %", ylim=(100 * floor - 6, None))
    handles, labels = places[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
