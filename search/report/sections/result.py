"""Winner against baseline: answers, scores, significance tests, all trainings, configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rigsl.wording import DASH, counted, listed, p_value, percent, points
from search.confirm.answers import Answer, fixed_before_test, several_answers
from search.confirm.bootstrap import Interval
from search.confirm.final_record import TestRecord
from search.confirm.summary import summary
from search.record import record
from search.report.answers import HEAD, NOTE, answer_cells, side_title
from search.report.charts import chart, error_bar, in_percent
from search.report.data import StudyData
from search.report.format import MeanAndStd, span, spread, value_text
from search.report.html import drawn, heading, note, table
from search.report.style import BLUE, ORANGE

#: Name of a score -> its title.
SCORES = {"weighted_f1": "weighted F1", "macro_f1": "macro F1", "accuracy": "accuracy"}
PAPER = "weighted F1, paper protocol (selected on test, optimistic)"


def content(data: StudyData) -> str:
    """The section."""
    test = data.final.test
    if test is None:
        parts = [_single_training(data), _paper(data)]
    else:
        picture = drawn(lambda: _picture(data, test))
        if answers := several_answers(test):
            parts = [
                _answers(data, answers),
                picture,
                heading("The configuration alone"),
                _scores(data, test),
            ]
        else:
            parts = [_scores(data, test), picture]
        parts += [_tests(test), _trainings(data, test)]
    return "".join([*parts, _configurations(data)])


def titles(data: StudyData) -> tuple[str, str]:
    """The titles of two columns with test scores, of winner and baseline."""
    reopened = f" ({data.reopened})" if data.reopened else ""
    return f"winner{reopened}", f"baseline{reopened}"


def _answers(data: StudyData, answers: Sequence[Answer]) -> str:
    """The answers side by side: a column for each, which fits the page; rows as long would not."""
    titles = ("what it is", *HEAD)
    columns = [(answer.meaning, *answer_cells(answer)) for answer in answers]
    rows = list(zip(titles, *columns, strict=True))
    reopened = f" ({data.reopened})" if data.reopened else ""
    head = ("", *(f"{answer.name}{reopened}" for answer in answers))
    return note(fixed_before_test(answers)) + table(head, rows, words=range(len(head))) + note(NOTE)


def _scores(data: StudyData, test: TestRecord) -> str:
    winner, baseline = test.winner, test.baseline
    bootstrap = None if test.difference is None else test.difference.bootstrap
    rows = []
    for name, title in SCORES.items():
        baseline_scores = None if baseline is None else getattr(baseline, name)
        rows.append(_row(f"{title}, test", getattr(winner, name), baseline_scores))
        if name == "weighted_f1":
            spans = [span(winner.interval), span(None if baseline is None else baseline.interval)]
            difference = span(None if bootstrap is None else bootstrap.interval, signed=True)
            rows.append(("95 % interval, test", spans[0], spans[1], difference))
    validation = {side: summary(values) for side, values in test.validation.items() if values}
    if (winner_scores := validation.get("winner")) is not None:
        title = "weighted F1, validation (same trainings)"
        rows.append(_row(title, winner_scores, validation.get("baseline")))
    if (paper := data.final.paper) is not None:
        rows.append(_row(PAPER, paper.winner, paper.baseline))
    explanation = (
        f"Mean ± standard deviation of {counted(len(winner.seeds), 'training')} with fresh seeds; "
        "differences in percentage points. Intervals: bootstrap over dialogues and trainings."
    )
    if data.final.paper is not None:
        explanation += (
            " The paper protocol trains on train and dev together and reports the best test epoch, as the "
            "official code does: for comparison with the literature only."
        )
    return table(("", *titles(data), "difference"), rows, marked=0) + note(explanation)


def _paper(data: StudyData) -> str:
    """The scores of the paper protocol, if winner and baseline have no other test scores."""
    if data.final.paper is None:
        return ""
    row = _row(PAPER, data.final.paper.winner, data.final.paper.baseline)
    return table(("", "winner", "baseline", "difference"), [row])


def _row(title: str, winner: MeanAndStd | None, baseline: MeanAndStd | None) -> tuple[str, str, str, str]:
    difference = None if winner is None or baseline is None else winner.mean - baseline.mean
    return title, spread(winner), spread(baseline), points(difference)


def _picture(data: StudyData, test: TestRecord) -> str:
    figure = go.Figure()
    for name, colour, symbol in (("winner", BLUE, "circle"), ("baseline", ORANGE, "square")):
        scores = test.side(name)
        if scores is None:
            continue
        f1 = scores.weighted_f1.values
        _add_trainings(figure, f"{name}, test", f1, scores.interval, colour, symbol)
        if validation := test.validation.get(name):
            _add_trainings(figure, f"{name}, validation", validation, None, colour, f"{symbol}-open")
    rows = _add_other_answers(figure, test)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="weighted F1 (%)")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    caption = "Points: trainings. Bars: their mean; lines: its 95 % interval on test."
    if data.reopened:
        caption += f" ({data.reopened}.)"
    height = 260 + 42 * rows
    return chart(
        figure, "weighted F1 of every training of winner and baseline", height=height, caption=caption
    )


def _add_other_answers(figure: go.Figure, test: TestRecord) -> int:
    """Rows of the picture for taught and average, each beside the baseline in the same form; their number."""
    rows = 0
    for answer in several_answers(test)[1:]:
        for side, colour, symbol in (("winner", BLUE, "circle"), ("baseline", ORANGE, "square")):
            if (scores := answer.side(side)) is not None:
                f1, title = scores.weighted_f1.values, f"{side_title(answer, side)}, test"
                _add_trainings(figure, title, f1, scores.interval, colour, symbol)
                rows += 1
    return rows


def _add_trainings(
    figure: go.Figure,
    title: str,
    values: Sequence[float],
    interval: Interval | None,
    colour: str,
    symbol: str,
) -> None:
    """One row of the picture: a point for each training, their mean and its interval."""
    if interval is None and not symbol.endswith("-open"):
        symbol = f"{symbol}-open"
    marker = {"symbol": symbol, "size": 9, "color": colour, "opacity": 0.55}
    figure.add_scatter(
        x=in_percent(values), y=[title] * len(values), mode="markers", name="a training", marker=marker
    )
    mean = sum(values) / len(values)
    bar = {"symbol": "line-ns-open", "size": 22, "color": colour, "line": {"width": 3}}
    error = error_bar(mean, interval, colour, thickness=2, width=7)
    figure.add_scatter(x=[100 * mean], y=[title], mode="markers", name="mean", marker=bar, error_x=error)


def _tests(test: TestRecord) -> str:
    """The significance tests of the difference."""
    difference = test.difference
    if difference is None:
        return ""
    rows = []
    if (bootstrap := difference.bootstrap) is not None:
        interval = bootstrap.interval
        basis = f"weighted F1; {' and '.join(interval.resampled)} resampled {interval.resamples:,} times"
        rows.append(("paired bootstrap", p_value(bootstrap.p), basis))
    if (wilcoxon := difference.wilcoxon_over_dialogues) is not None:
        basis = f"accuracy of each dialogue; {counted(wilcoxon.pairs, 'dialogue')} with a difference"
        rows.append(("Wilcoxon, over dialogues", p_value(wilcoxon.p), basis))
    if (wilcoxon := difference.wilcoxon_over_seeds) is not None:
        smallest = p_value(wilcoxon.smallest_possible_p).removeprefix("p ").removeprefix("= ")
        seeds = counted(wilcoxon.pairs, "seed")
        basis = f"weighted F1 of each seed; {seeds} with a difference, so p cannot be below {smallest}"
        rows.append(("Wilcoxon, over seeds", p_value(wilcoxon.p), basis))
    head = ("test", "p value", "compares")
    return heading("Significance of the difference") + table(head, rows, words=(0, 2))


def _trainings(data: StudyData, test: TestRecord) -> str:
    """A row for every seed; dashes for a training that failed."""
    columns = {
        side: title
        for side, title in zip(("winner", "baseline"), titles(data), strict=True)
        if test.side(side)
    }
    cells = {side: _cells_by_seed(test, side) for side in columns}
    head = ["seed"]
    for title in columns.values():
        head += [f"{title}, test", "95 % interval", "validation"]
    seeds = sorted({seed for by_seed in cells.values() for seed in by_seed})
    empty = (DASH, DASH, DASH)
    rows = [
        [str(seed), *(cell for by_seed in cells.values() for cell in by_seed.get(seed, empty))]
        for seed in seeds
    ]
    of_what = " of the configuration" if several_answers(test) else ""
    return heading(f"All trainings{of_what}") + table(head, rows, words=())


def _cells_by_seed(test: TestRecord, side: str) -> dict[int, tuple[str, str, str]]:
    scores = test.side(side)
    runs = () if scores is None else scores.runs
    validation = dict(enumerate(test.validation.get(side, ())))
    return {
        run.seed: (percent(run.weighted_f1), span(run.interval), percent(validation.get(i)))
        for i, run in enumerate(runs)
    }


def _single_training(data: StudyData) -> str:
    """The scores of a single training, for a study without a final stage."""
    if not data.metrics:
        return note("There is no result to compare." if data.winner is None else "Nothing has been tested.")
    validation, test = data.metrics["validation"], data.metrics["test"]
    rows = [(title, percent(validation[name]), percent(test[name])) for name, title in SCORES.items()]
    head = ("winner, one training", "validation", f"test ({data.reopened})" if data.reopened else "test")
    explanation = "A single training; a mean over fresh seeds, with its interval, needs a final stage."
    baseline = data.baseline
    if baseline is not None and (score := record.score(baseline)) is not None and not data.baseline_won:
        explanation += f" The baseline, trial {baseline.number}, reached {percent(score)} on validation."
    return table(head, rows, marked=0) + note(explanation)


def _configurations(data: StudyData) -> str:
    """The hyperparameters in which winner and baseline differ, and those that they share."""
    winner, baseline = data.winner_params, data.baseline_params
    if not winner:
        return ""
    names = [name for name in data.space.parameters if name in winner or name in baseline]
    if data.baseline_won or not baseline:
        rows = [(name, _value(winner, name)) for name in names]
        return heading("Configuration") + table(("", "winner"), rows)
    both = [(name, _value(winner, name), _value(baseline, name)) for name in names]
    differing = [row for row in both if row[1] != row[2]]
    shared = [f"{name} = {value}" for name, value, other in both if value == other]
    return (
        heading("Hyperparameters of winner and baseline")
        + table(("", "winner", "baseline"), differing)
        + (note(f"The same in both: {listed(shared)}.") if shared else "")
    )


def _value(params: Mapping[str, Any], name: str) -> str:
    return value_text(params[name]) if name in params else DASH
