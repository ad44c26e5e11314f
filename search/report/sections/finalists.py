"""The finalists: their scores in the search, and with fresh seeds, on dev or on held-out folds of train."""

from __future__ import annotations

import plotly.graph_objects as go

from rigsl.wording import counted, percent, plus_minus, points
from search.confirm.final_record import FinalistRecord, FinalistsRecord
from search.report.charts import chart, in_percent
from search.report.data import StudyData
from search.report.html import drawn, note, table
from search.report.style import BLUE, GREY, INK, ORANGE


def content(data: StudyData) -> str:
    """The section."""
    finalists = data.final.finalists
    if not finalists or not finalists.candidates:
        if data.winner is None:
            return note("There was nothing to train again.")
        return note("There were no finalists: the winner is the best single training of the search.")
    return "".join(
        [
            _introduction(finalists),
            _table(finalists),
            drawn(lambda: _picture(finalists)),
            _selection_bias(finalists),
        ]
    )


def _introduction(finalists: FinalistsRecord) -> str:
    text = (
        f"The best {counted(len(finalists.candidates), 'configuration')} of the search, each trained again "
        f"with {counted(len(finalists.seeds), 'fresh seed')} for up to "
        f"{counted(finalists.epochs, 'epoch')}"
    )
    if finalists.folds:
        text += (
            ": trained on the other folds of train, epoch chosen on dev, scored on the held-out fold. Search "
            "scores are on other utterances, so the two are not compared."
        )
    else:
        text += ", and scored on validation."
    if any(finalist.state == "stopped" for finalist in finalists.candidates):
        text += " Finalists that had no chance of winning any more were dropped (racing)."
    return note(text)


def fold_titles(finalists: FinalistsRecord) -> list[str]:
    """``fold 1`` and so on for every training of a finalist; with its seed where a fold is held out twice."""
    repeated = len(set(finalists.folds)) < len(finalists.folds)
    return [
        f"fold {fold + 1}, seed {seed}" if repeated else f"fold {fold + 1}"
        for fold, seed in zip(finalists.folds, finalists.seeds, strict=True)
    ]


def score_titles(finalists: FinalistsRecord) -> tuple[str, str]:
    """What a single score of a finalist is, and the title of the axis of its scores."""
    if finalists.folds:
        return "a held-out fold", "weighted F1 (%): folds of train; search score: other utterances"
    return "a fresh seed", "validation weighted F1 (%)"


def _selection_bias(finalists: FinalistsRecord) -> str:
    """How far the search scores are above the means over fresh seeds."""
    if finalists.optimism is None:
        return ""
    bias = 100 * finalists.optimism
    if bias > 0:
        text = (
            f"Selection bias (optimism): on average the search scores are {bias:.2f} points above the means "
            "over fresh seeds. A search picks the highest scores, and with them the luckiest, so they "
            "overestimate what a configuration gives."
        )
    else:
        text = f"On average the search scores are {-bias:.2f} points below the means over fresh seeds."
    incomplete = sum(not finalist.complete for finalist in finalists.candidates)
    if incomplete:
        verb = "was" if incomplete == 1 else "were"
        text += (
            f" {incomplete} of the {len(finalists.candidates)} {verb} stopped early in the search, so that a "
            "complete trial would have scored higher."
        )
    return note(text)


def _table(finalists: FinalistsRecord) -> str:
    rows = []
    for rank, finalist in enumerate(finalists.candidates, start=1):
        scores = [*finalist.scores, *([None] * (len(finalists.seeds) - len(finalist.scores)))]
        bias = None if finalist.mean is None else finalist.search_score - finalist.mean
        biases = [] if finalists.folds else [points(bias)]
        rows.append(
            (
                str(rank),
                f"trial {finalist.trial}{'' if finalist.complete else ', stopped early'}",
                percent(finalist.search_score),
                plus_minus(finalist.mean, finalist.standard_error),
                *biases,
                *(percent(score) for score in scores),
                finalist.state,
            )
        )
    columns = ["selection bias", *(f"seed {seed}" for seed in finalists.seeds)]
    if finalists.folds:
        columns = fold_titles(finalists)
    head = ("", "configuration", "search score", "mean ± st. error", *columns, "state")
    states = [finalist.state for finalist in finalists.candidates]
    winner = states.index("winner") if "winner" in states else None
    return table(head, rows, words=(1, len(head) - 1), marked=winner) + _reasons(finalists.candidates)


def _reasons(candidates: tuple[FinalistRecord, ...]) -> str:
    """Why finalists were not trained with every seed."""
    reasons = [f"trial {finalist.trial}: {finalist.reason}" for finalist in candidates if finalist.reason]
    return note(f"Not trained with every seed: {'; '.join(reasons)}.") if reasons else ""


def _picture(finalists: FinalistsRecord) -> str:
    figure, (one_score, axis) = go.Figure(), score_titles(finalists)
    names = [f"trial {finalist.trial}" for finalist in finalists.candidates]
    single = [
        (100 * score, name)
        for name, finalist in zip(names, finalists.candidates, strict=True)
        for score in finalist.scores
        if score is not None
    ]
    marker = {"color": GREY, "size": 8}
    x, y = [score for score, _ in single], [name for _, name in single]
    figure.add_scatter(x=x, y=y, mode="markers", name=one_score, marker=marker)
    means = [
        (name, finalist, finalist.mean)
        for name, finalist in zip(names, finalists.candidates, strict=True)
        if finalist.mean is not None
    ]
    errors = [finalist.standard_error or 0 for _, finalist, _ in means]
    figure.add_scatter(
        x=[100 * mean for _, _, mean in means],
        y=[name for name, _, _ in means],
        error_x={"type": "data", "array": in_percent(errors), "color": BLUE},
        mode="markers",
        name="mean ± standard error",
        marker={
            "color": [BLUE if finalist.state == "winner" else INK for _, finalist, _ in means],
            "size": 11,
            "symbol": "diamond",
        },
    )
    search_scores = in_percent([finalist.search_score for finalist in finalists.candidates])
    cross = {"color": ORANGE, "size": 11, "symbol": "x-thin", "line": {"width": 2.5, "color": ORANGE}}
    figure.add_scatter(x=search_scores, y=names, mode="markers", name="search score", marker=cross)
    figure.update_xaxes(title_text=axis)
    figure.update_yaxes(autorange="reversed", showgrid=True, type="category")
    return chart(
        figure,
        f"search score and {one_score.removeprefix('a ')}s of every finalist",
        height=130 + 42 * len(names),
    )
