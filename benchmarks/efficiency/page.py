"""The page and the picture of the comparison: ``report.html`` and ``efficiency.png``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.efficiency.handed_over import HEAD as HANDED_OVER_HEAD
from benchmarks.efficiency.run_study import BUDGETS, GRID, OURS, StudyResult
from benchmarks.efficiency.summaries import (
    ABLATION_HEAD,
    BASELINE_HEAD,
    RANDOM,
    MethodComparison,
    StudiesByMethod,
    ablation_cells,
    baseline_cells,
    incumbent_scores,
    interval_text,
)
from rigsl.files import replacing, write_text
from rigsl.wording import counted, listed
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

#: Of the baselines in their order, except random search, which is grey; ours is blue.
COLOURS = (ORANGE, GREEN, PURPLE, "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#bcbd22")


@dataclass(frozen=True)
class PageData:
    """The content of the page; keys of mappings are numbers of workers, where not said otherwise."""

    baselines: Mapping[int, MethodComparison]
    ablations: Mapping[int, MethodComparison]
    studies: Mapping[int, StudiesByMethod]  #: of ours and the baselines
    surrogate_errors: Mapping[str, float]  #: name of a statistic -> its value
    study_count: int  #: studies per method
    surrogate: str  #: name of the surrogate model
    trainings: int  #: real trainings in the table
    hours: Mapping[int, float]  #: budget of a study
    handed_over: Sequence[Sequence[str]]  #: rows of the real trainings, see `handed_over.cells`


def write(folder: Path, data: PageData) -> None:
    """Write ``report.html`` and ``efficiency.png`` into `folder`."""
    write_text(folder / "report.html", _page(data))
    _picture(folder / "efficiency.png", data)


def _page(data: PageData) -> str:
    title = "Search efficiency: the best score per hour"
    parts = [f"<header><h1>{text(title)}</h1>{paragraph(claim(data), 'claim')}</header>"]
    parts.append(_handed_over_section(data))
    for workers in data.baselines:
        parts += [_baselines_section(data, workers), _ablations_section(data, workers)]
    errors = pairs([(name.replace("_", " "), f"{value:g}") for name, value in data.surrogate_errors.items()])
    parts.append(section("surrogate", "How accurate the surrogate is", _surrogate_text(data), errors))
    parts.append(section("reproduce", "Reproduce", code("make efficiency")))
    return document(title, parts)


def _handed_over_section(data: PageData) -> str:
    return section(
        "handed-over",
        "What searches hand over, trained for real",
        table(HANDED_OVER_HEAD, data.handed_over),
        note(
            "Weighted F1 on test, mean over studies; half of them have one worker, half eight. Best trial, "
            "configuration, taught: mean over fresh seeds. Differences are paired by study. In brackets: "
            "95 % bootstrap intervals over studies. p: Wilcoxon's signed-rank test, two-sided, adjusted by "
            "Holm's method over the three answers."
        ),
    )


def _baselines_section(data: PageData, workers: int) -> str:
    comparison, name = data.baselines[workers], counted(workers, "worker")
    return section(
        f"baselines-{workers}",
        f"Comparison with baselines, {name}",
        chart(
            _figure(data, workers), f"Best score against time, {name}", height=440, width=560,
            caption="Median over studies of the best validation score so far, with its 95 % bootstrap "
            "interval; in simulated hours, with one core per worker.",
        ),
        table(
            BASELINE_HEAD, baseline_cells(comparison), marked=list(comparison.rows.index).index(OURS)
        ),
        note(
            f"{counted(data.study_count, 'study', 'studies')} per method; all methods have the same seeds. "
            "In brackets: 95 % bootstrap intervals over studies. Time to random search's result: the share "
            "of the budget that a method needs to reach random search's median final score. p: Wilcoxon's "
            "signed-rank test of ours against the method at the full budget, two-sided, paired by study "
            "seed, adjusted by Holm's method. "
            f"Friedman's test of equal ranks: p = {comparison.friedman:.1g}. Selection bias (optimism): the "
            "best trial's score in the search minus its mean over new seeds. Effect of the finalist stage: "
            "test F1 of the winning finalist minus test F1 of the best trial of a search that also had the "
            "finalists' time."
        ),
    )  # fmt: skip


def _ablations_section(data: PageData, workers: int) -> str:
    comparison = data.ablations[workers]
    return section(
        f"ablations-{workers}",
        f"Ablations: ours with one component changed, {counted(workers, 'worker')}",
        table(ABLATION_HEAD, ablation_cells(comparison), marked=list(comparison.rows.index).index(OURS)),
        note(
            "Difference: mean over the study seeds that both have. Confirmed F1: mean validation score of "
            "the winning finalist over its new seeds."
        ),
    )


def claim(data: PageData) -> str:
    """The result in a few sentences."""
    sentences = []
    for workers, comparison in data.baselines.items():
        rows = comparison.rows
        ours, others = rows.loc[OURS], rows.drop(index=OURS)
        better = [
            name
            for name, row in others.iterrows()
            if any(row[when].value >= ours[when].value for when in ("half", "full"))
        ]
        strongest = max(others.index, key=lambda name: others.loc[name, "full"].value)
        lead = ours["full"].value - others.loc[strongest, "full"].value
        beaten = "no baseline is better in the median at half or full budget"
        if better:
            beaten = f"not better in the median, at half or full budget, than {listed(sorted(better))}"
        sentences.append(
            f"With {counted(workers, 'worker')}, ours reaches random search's result in "
            f"{ours['time'].value:.2f} of its time and ends at {interval_text(ours['full'])}, "
            f"{abs(100 * lead):.2f} points {'ahead of' if lead > 0 else 'behind'} {strongest}; {beaten}."
        )
    return " ".join(sentences)


def _surrogate_text(data: PageData) -> str:
    errors = data.surrogate_errors
    paragraphs = [
        f"The learning curves are predicted by a surrogate model ({data.surrogate}) of {data.trainings} real "
        "trainings. In cross-validation on random configurations, the root mean square error of the best "
        f"score is {100 * errors['rmse']:.1f} points (standard deviation of the scores: "
        f"{100 * errors['spread']:.1f}), with a rank correlation of {errors['rank_correlation']:.2f}, and of "
        f"{errors['rank_correlation_of_best']:.2f} among the best 30 %."
    ]
    if "best" in errors:
        paragraphs.append(
            f"Of the {errors['best']:.0f} real configurations that are best on validation, test scores have "
            f"a rank correlation of {errors['best_on_test']:.2f} with validation scores."
        )
    if "validated" in errors:
        paragraphs.append(
            f"The best configurations of {errors['validated']:.0f} simulated searches were trained for real. "
            "A surrogate fitted without them predicted a mean best score of "
            f"{100 * errors['validated_predicted']:.2f} %; the real mean is "
            f"{100 * errors['validated_mean']:.2f} %. They are part of the table now."
        )
    return "".join(map(paragraph, paragraphs))


def _styles(names: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Method -> colour and width of its line."""
    rest = iter(COLOURS)
    return {
        name: (BLUE, 3.0) if name == OURS else (GREY, 2.0) if name == RANDOM else (next(rest), 1.6)
        for name in names
    }


def _median_and_interval(studies: Sequence[StudyResult]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median of the best scores in percent, and its 95 % bootstrap interval, at GRID's times."""
    curves = 100 * incumbent_scores(studies)
    resampled = np.random.default_rng(0).integers(len(curves), size=(1000, len(curves)))
    low, high = np.percentile(np.median(curves[resampled], axis=1), [2.5, 97.5], axis=0)
    return np.median(curves, axis=0), low, high


def _figure(data: PageData, workers: int) -> go.Figure:
    figure, hours = go.Figure(), GRID * data.hours[workers]
    studies = data.studies[workers]
    for name, (colour, width) in _styles(list(studies)).items():
        median, low, high = _median_and_interval(studies[name])
        figure.add_scatter(
            x=np.concatenate([hours, hours[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
            fillcolor=colour, opacity=0.12, line={"width": 0}, legendgroup=name, showlegend=False,
            hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=hours, y=median, name=name, line={"color": colour, "width": width}, legendgroup=name,
            hovertemplate=f"{name}: %{{y:.2f}} after %{{x:.2f}} h<extra></extra>",
        )  # fmt: skip
    random_end = 100 * np.median(incumbent_scores(studies[RANDOM])[:, -1])
    highest = max(_median_and_interval(results)[2][-1] for results in studies.values())
    figure.update_yaxes(title="best validation weighted F1, %", range=[random_end - 6, highest + 0.5])
    figure.update_xaxes(title=f"simulated hours, {counted(workers, 'worker')}")
    return figure


def _picture(path: Path, data: PageData) -> None:
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(data.studies), sharey=True, squeeze=False)[0]
    for axes, (workers, studies) in zip(panels, data.studies.items(), strict=True):
        hours = GRID * data.hours[workers]
        for name, (colour, width) in _styles(list(studies)).items():
            median, low, high = _median_and_interval(studies[name])
            axes.fill_between(hours, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(hours, median, color=colour, linewidth=width, label=name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(
            title=f"{counted(workers, 'worker')}, budget: {BUDGETS[workers]:.0f} mean trainings each",
            xlabel="simulated hours",
        )
    floor = min(np.median(incumbent_scores(studies[RANDOM])[:, -1]) for studies in data.studies.values())
    panels[0].set(ylabel="best validation weighted F1, %", ylim=(100 * floor - 6, None))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
