"""The finalists: what the search said of them, and what fresh seeds say."""

from __future__ import annotations

import plotly.graph_objects as go

from rigsl.wording import counted, percent, points
from search.confirm.final_record import FinalistRecord, FinalistsRecord
from search.report.charts import chart
from search.report.data import Material
from search.report.html import drawn, note, section, table
from search.report.style import BLUE, GREY, INK, ORANGE


def finalists(m: Material) -> str:
    """The section."""
    found = m.final.finalists
    title = "Finalists: one lucky training does not win"
    if not found or not found.candidates:
        said = "There were no finalists: the winner is the best single training of the search."
        if m.winner is None:
            said = "There was nothing to train again."
        return section("finalists", title, note(said))
    return section(
        "finalists", title, _said(found), _table(found), drawn(lambda: _picture(found)), _after(found)
    )


def _said(found: FinalistsRecord) -> str:
    said = (
        f"The best {counted(len(found.candidates), 'configuration')} of the search, each trained again "
        f"with {counted(len(found.seeds), 'fresh seed')} for up to {found.epochs} epochs, on "
        "validation."
    )
    if any(one.state == "stopped" for one in found.candidates):
        said += " Those that could not win any more were stopped."
    return note(said)


def _after(found: FinalistsRecord) -> str:
    """How much of a search score was luck."""
    if found.optimism is None:
        return ""
    gap = 100 * found.optimism
    said = (
        f"Regression to the mean: on average the search scores stand {gap:.2f} points above the means over "
        "fresh seeds. A search picks the highest scores, and with them the luckiest: they are no estimate of "
        "what a configuration gives."
    )
    if gap <= 0:
        said = f"On average the search scores stand {-gap:.2f} points below the means over fresh seeds."
    short = sum(not one.complete for one in found.candidates)
    if short:
        said += (
            f" {short} of the {len(found.candidates)} were cut short in the search, so that their search "
            "scores are lower than those of whole trainings would be."
        )
    return note(said)


def _table(found: FinalistsRecord) -> str:
    rows = []
    for rank, one in enumerate(found.candidates, start=1):
        scores = [*one.scores, *([None] * (len(found.seeds) - len(one.scores)))]
        gap = None if one.mean is None else one.search_score - one.mean
        rows.append(
            (
                str(rank),
                f"trial {one.trial}{'' if one.complete else ', cut short'}",
                percent(one.search_score),
                _mean(one),
                points(gap),
                *(percent(score) for score in scores),
                one.state,
            )
        )
    seeds = [f"seed {seed}" for seed in found.seeds]
    head = ("", "configuration", "search score", "mean ± st. error", "too high by", *seeds, "")
    first = next((i for i, one in enumerate(found.candidates) if one.state == "winner"), None)
    ended = [f"trial {one.trial}: {one.reason}" for one in found.candidates if one.reason]
    why = note(f"Why some were not trained with every seed: {'; '.join(ended)}.") if ended else ""
    return table(head, rows, words=(1, len(head) - 1), marked=first) + why


def _mean(one: FinalistRecord) -> str:
    if one.mean is None or one.standard_error is None:
        return percent(one.mean)
    return f"{100 * one.mean:.2f} ± {100 * one.standard_error:.2f} %"


def _picture(found: FinalistsRecord) -> str:
    figure = go.Figure()
    names = [f"trial {one.trial}" for one in found.candidates]
    searched = [100 * one.search_score for one in found.candidates]
    dots = [
        (100 * score, name)
        for name, one in zip(names, found.candidates, strict=True)
        for score in one.scores
        if score is not None
    ]
    marker = {"color": GREY, "size": 8}
    figure.add_scatter(
        x=[x for x, _ in dots], y=[y for _, y in dots], mode="markers", name="a fresh seed", marker=marker
    )
    means = [
        (name, one, one.mean)
        for name, one in zip(names, found.candidates, strict=True)
        if one.mean is not None
    ]
    figure.add_scatter(
        x=[100 * mean for _, _, mean in means],
        y=[name for name, _, _ in means],
        error_x={
            "type": "data",
            "array": [100 * (one.standard_error or 0) for _, one, _ in means],
            "color": BLUE,
        },
        mode="markers",
        name="mean ± standard error",
        marker={
            "color": [BLUE if one.state == "winner" else INK for _, one, _ in means],
            "size": 11,
            "symbol": "diamond",
        },
    )
    open_marker = {"color": ORANGE, "size": 11, "symbol": "x-thin", "line": {"width": 2.5, "color": ORANGE}}
    figure.add_scatter(x=searched, y=names, mode="markers", name="search score", marker=open_marker)
    figure.update_xaxes(title_text="validation weighted F1 (%)")
    figure.update_yaxes(autorange="reversed", showgrid=True, type="category")
    return chart(figure, "search score and fresh seeds of every finalist", height=130 + 42 * len(names))
