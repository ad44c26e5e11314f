"""The winner against the baseline: scores, tests of the difference, every training, configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rigsl.wording import DASH, counted, listed, p_value, percent, points
from search.confirm.bootstrap import Interval
from search.confirm.final_record import ConfigurationRecord, TestRecord
from search.confirm.summary import summary
from search.record import record
from search.report.charts import chart
from search.report.data import Material
from search.report.format import MeanAndStd, span, spread, value_text
from search.report.html import drawn, heading, note, section, table
from search.report.style import BLUE, ORANGE

SCORES = {"weighted_f1": "weighted F1", "macro_f1": "macro F1", "accuracy": "accuracy"}
PAPER = "selected on test, optimistic"


def result(m: Material) -> str:
    """The section."""
    test = m.final.test
    if test is not None:
        parts = [_table(m, test), drawn(lambda: _picture(m, test)), _tests(test), _trainings(m, test)]
    else:
        parts = [_single(m), _paper(m)]
    return section("result", "Winner against baseline", *parts, _configurations(m))


def titles(m: Material) -> tuple[str, str]:
    """What winner and baseline are called above a column of test scores."""
    again = f" ({m.again})" if m.again else ""
    return f"winner{again}", f"baseline{again}"


def _table(m: Material, test: TestRecord) -> str:
    winner, baseline = test.winner, test.baseline
    difference = None if test.difference is None else test.difference.bootstrap
    rows = []
    for name, title in SCORES.items():
        rows.append(
            _row(
                f"{title}, test", getattr(winner, name), None if baseline is None else getattr(baseline, name)
            )
        )
        if name == "weighted_f1":
            gap = None if difference is None else difference.interval
            left, right = span(winner.interval), span(None if baseline is None else baseline.interval)
            rows.append(("95 % interval, test", left, right, span(gap, signed=True)))
    known = {side: summary(values) for side, values in test.validation.items() if values}
    if (ours := known.get("winner")) is not None:
        rows.append(_row("weighted F1, validation (same trainings)", ours, known.get("baseline")))
    if (paper := m.final.paper) is not None:
        rows.append(_row(f"weighted F1, paper protocol ({PAPER})", paper.winner, paper.baseline))
    said = (
        f"Mean ± standard deviation of {counted(len(winner.seeds), 'training')} with fresh seeds; "
        "differences in percentage points. The interval of a score is a bootstrap over dialogues and "
        "trainings."
    )
    if m.final.paper is not None:
        said += (
            " The paper protocol trains on train and dev together and reports the best test epoch, as the "
            "official code does: for comparison with the literature only."
        )
    return table(("", *titles(m), "difference"), rows, marked=0) + note(said)


def _paper(m: Material) -> str:
    """The paper protocol's numbers where no test of the other protocol stands beside them."""
    if m.final.paper is None:
        return ""
    row = _row(f"weighted F1, paper protocol ({PAPER})", m.final.paper.winner, m.final.paper.baseline)
    return table(("", "winner", "baseline", "difference"), [row])


def _row(title: str, winner: MeanAndStd | None, baseline: MeanAndStd | None) -> tuple[str, str, str, str]:
    gap = None if winner is None or baseline is None else winner.mean - baseline.mean
    return title, spread(winner), spread(baseline), points(gap)


def _picture(m: Material, test: TestRecord) -> str:
    figure = go.Figure()
    for name, colour, symbol in (("winner", BLUE, "circle"), ("baseline", ORANGE, "square")):
        found = test.side(name)
        if found is None:
            continue
        rows: list[tuple[str, tuple[float, ...], Interval | None]]
        rows = [(f"{name}, test", found.weighted_f1.values, found.interval)]
        if values := test.validation.get(name):
            rows.append((f"{name}, validation", values, None))
        for title, values, interval in rows:
            hollow = f"{symbol}-open" if interval is None else symbol
            x = [100 * value for value in values]
            marker = {"symbol": hollow, "size": 9, "color": colour, "opacity": 0.55}
            figure.add_scatter(x=x, y=[title] * len(x), mode="markers", name="a training", marker=marker)
            _add_mean(figure, title, values, interval, colour)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="weighted F1 (%)")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    caption = "Points: trainings. Bars: their mean; lines: its 95 % interval on test."
    if m.again:
        caption += f" ({m.again}.)"
    return chart(figure, "weighted F1 of every training of winner and baseline", height=260, caption=caption)


def _add_mean(
    figure: go.Figure, title: str, values: Sequence[float], interval: Interval | None, colour: str
) -> None:
    mean = sum(values) / len(values)
    error: Mapping[str, Any] | None = None
    if interval is not None:
        above, below = interval.high - mean, mean - interval.low
        error = {"type": "data", "symmetric": False, "array": [100 * above], "arrayminus": [100 * below],
                 "thickness": 2, "width": 7, "color": colour}  # fmt: skip
    marker = {"symbol": "line-ns-open", "size": 22, "color": colour, "line": {"width": 3}}
    figure.add_scatter(x=[100 * mean], y=[title], mode="markers", name="mean", marker=marker, error_x=error)


def _tests(test: TestRecord) -> str:
    difference = test.difference
    if difference is None:
        return ""
    rows = []
    if (bootstrap := difference.bootstrap) is not None:
        interval = bootstrap.interval
        how = f"{' and '.join(interval.resampled)} resampled {interval.resamples} times"
        rows.append(("paired bootstrap", p_value(bootstrap.p), f"weighted F1; {how}"))
    if (test_over := difference.wilcoxon_over_dialogues) is not None:
        how = f"share of utterances that are right, {test_over.pairs} dialogues that differ"
        rows.append(("Wilcoxon, over dialogues", p_value(test_over.p), how))
    if (test_over := difference.wilcoxon_over_seeds) is not None:
        least = p_value(test_over.smallest_possible_p).removeprefix("p ").removeprefix("= ")
        how = f"weighted F1, {test_over.pairs} seeds that differ; it cannot be below {least} with so many"
        rows.append(("Wilcoxon, over seeds", p_value(test_over.p), how))
    return heading("Is it a difference?") + table(("test", "", "of what"), rows, words=(0, 2))


def _trainings(m: Material, test: TestRecord) -> str:
    """A row for every seed; a training that failed has none of its scores."""
    sides = [
        (name, title)
        for name, title in zip(("winner", "baseline"), titles(m), strict=True)
        if test.side(name)
    ]
    known = {name: _by_seed(test, name) for name, _ in sides}
    head = ["seed"]
    for _, title in sides:
        head += [f"{title}, test", "95 % interval", "validation"]
    seeds = sorted({seed for found in known.values() for seed in found})
    nothing = (DASH, DASH, DASH)
    rows = [
        [str(seed), *(cell for name in known for cell in known[name].get(seed, nothing))] for seed in seeds
    ]
    return heading("Every training") + table(head, rows, words=())


def _by_seed(test: TestRecord, name: str) -> dict[int, tuple[str, str, str]]:
    side = test.side(name)
    runs = () if side is None else side.runs
    scores = dict(enumerate(test.validation.get(name, ())))
    return {
        run.seed: (percent(run.weighted_f1), span(run.interval), percent(scores.get(i)))
        for i, run in enumerate(runs)
    }


def _single(m: Material) -> str:
    """One training, looked at on test once, as a study without a last stage has it."""
    if not m.metrics:
        return note("There is no result to compare." if m.winner is None else "Nothing has been tested.")
    validation, test = m.metrics["validation"], m.metrics["test"]
    rows = [(title, percent(validation[name]), percent(test[name])) for name, title in SCORES.items()]
    head = ("winner, one training", "validation", f"test ({m.again})" if m.again else "test")
    baseline = m.baseline
    said = "It was trained once; a mean over fresh seeds, with its interval, needs the finalists."
    if baseline is not None and (score := record.score(baseline)) is not None and not m.same:
        said += f" The baseline, trial {baseline.number}, reached {percent(score)} on validation."
    return table(head, rows, marked=0) + note(said)


def _configurations(m: Material) -> str:
    winner, baseline = _params(m.winner, m.final.winner), _params(m.baseline, m.final.baseline)
    if not winner:
        return ""
    names = [name for name in m.space.parameters if name in winner or name in baseline]
    if m.same or not baseline:
        return heading("Configuration") + table(
            ("", "winner"), [(name, _value(winner, name)) for name in names]
        )
    rows = [(name, _value(winner, name), _value(baseline, name)) for name in names]
    same = [f"{name} = {left}" for name, left, right in rows if left == right]
    said = note(f"The same in both: {listed(same)}.") if same else ""
    differing = table(("", "winner", "baseline"), [row for row in rows if row[1] != row[2]])
    return heading("What the winner does differently") + differing + said


def _params(trial: Any, final: ConfigurationRecord | None) -> Mapping[str, Any]:
    if final is not None:
        return dict(final.params)
    return {} if trial is None else dict(trial.params)


def _value(params: Mapping[str, Any], name: str) -> str:
    return value_text(params[name]) if name in params else DASH
