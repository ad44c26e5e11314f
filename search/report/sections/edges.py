"""Ranges: where good values and the last proposals cluster at an edge, and how much of each was tried.

The best value may be outside the search space, or the search may have stopped to look elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial
from scipy import stats

from rigsl.config import FIELDS, allowed, checked
from rigsl.errors import UserError
from rigsl.wording import listed
from search.record import record
from search.report.commands import resume_command
from search.report.data import StudyData
from search.report.format import value_text
from search.report.html import code, heading, note, table
from search.report.trial_views import good_trials
from search.run_folder import SPACE
from search.samplers.good_trials import MIN_SCORED
from search.space.origin import origin
from search.space.parameter import Parameter

#: The edge is this outer share of a range, or its last value.
EDGE = 0.1
#: At least this share of the good trials is at the edge, and significantly more than chance puts there.
MIN_SHARE, SIGNIFICANCE = 0.5, 0.05
#: Good trials that must have a parameter for a statement about it.
MIN_VALUES = 3
#: The last proposals, of which all are watched; a range has so many parts for their coverage.
LAST_PROPOSALS, PARTS = 10, 5


@dataclass(frozen=True)
class Edge:
    """A parameter whose good values cluster at one end of its range."""

    parameter: Parameter
    side: str  #: "low" or "high"
    count: int  #: good trials at the edge
    of: int  #: good trials that have the parameter
    wider: Any  #: a value beyond the edge; None: the hyperparameter cannot have one

    @property
    def end(self) -> Any:
        """The last value of the range on that side."""
        return end_of(self.parameter, self.side)


def content(data: StudyData) -> str:
    """The section."""
    trials = good_trials(data.study)
    if not trials:
        return note(f"Ranges are assessed from {MIN_SCORED} trials with a score on; this study has fewer.")
    return _good(data, trials) + _coverage(data)


def _good(data: StudyData, trials: Sequence[FrozenTrial]) -> str:
    """Ranges that may be too narrow."""
    edges = find_edges(list(data.space.parameters.values()), trials)
    if not edges:
        return note(
            f"None: the values of the best {len(trials)} trials do not cluster at an end of any range."
        )
    head = ("parameter", "range", "good trials", "advice")
    can_widen = [edge for edge in edges if edge.wider is not None]
    return table(head, [_row(edge) for edge in edges], words=(0, 1, 2, 3)) + _advice(data, can_widen)


def last_proposals(data: StudyData) -> list[FrozenTrial]:
    """The last trials that the search proposed itself; start points are none of them."""
    proposed = [
        trial for trial in record.begun(data.study) if origin(data.space, trial.params)[:5] != "given"
    ]
    return proposed[-LAST_PROPOSALS:] if len(proposed) >= LAST_PROPOSALS else []


def _coverage(data: StudyData) -> str:
    """A warning for each edge at which the last proposals pile up, and which part of each range was tried."""
    parameters = list(data.space.parameters.values())
    piles = [
        note(
            f"Warning: the last proposals pile up at an edge: {edge.count} of the last {edge.of} have "
            f"{edge.parameter.name} at its {edge.side} end, {value_text(edge.end)}."
        )
        for edge in find_edges(parameters, last_proposals(data))
    ]
    begun = record.begun(data.study)
    rows = [
        (parameter.name, parameter.describe(), *row)
        for parameter in parameters
        if (row := _tried(parameter, begun))
    ]
    head = ("parameter", "range", "parts of the range that were tried", "trials in each part")
    return heading("Coverage of the space") + "".join(piles) + table(head, rows, words=(0, 1, 2, 3))


def _tried(parameter: Parameter, trials: Sequence[FrozenTrial]) -> tuple[str, str] | None:
    """How many parts of a range were tried, and the trials in each, from low to high; None: in none."""
    counts = parts(
        parameter, [trial.params[parameter.name] for trial in trials if parameter.name in trial.params]
    )
    if not any(counts):
        return None
    return f"{sum(count > 0 for count in counts)} of {len(counts)}", " ".join(map(str, counts))


def parts(parameter: Parameter, values: Sequence[Any]) -> list[int]:
    """The number of values in each part of a range: each single value of it, or PARTS equal parts."""
    if single := ordered_values(parameter) or list(parameter.values):
        return [sum(value == one for value in values) for one in single]
    low, high = _on_scale(parameter, parameter.low), _on_scale(parameter, parameter.high)
    positions = [(_on_scale(parameter, value) - low) / (high - low) for value in values]
    places = [min(PARTS - 1, max(0, int(PARTS * position))) for position in positions]
    return [places.count(part) for part in range(PARTS)]


def find_edges(parameters: Sequence[Parameter], good: Sequence[FrozenTrial]) -> list[Edge]:
    """The parameters whose values in the `good` trials cluster at an end of their range."""
    edges = []
    for parameter in parameters:
        values = [trial.params[parameter.name] for trial in good if parameter.name in trial.params]
        expected = edge_share(parameter)
        if len(values) < MIN_VALUES or not expected:
            continue
        for side in ("low", "high"):
            count = sum(is_at_edge(parameter, value, side) for value in values)
            if count < MIN_SHARE * len(values):
                continue
            if stats.binomtest(count, len(values), expected, alternative="greater").pvalue < SIGNIFICANCE:
                edges.append(Edge(parameter, side, count, len(values), beyond(parameter, side)))
    return edges


def ordered_values(parameter: Parameter) -> list[Any]:
    """The values of a parameter that has few and ordered ones; of any other parameter none."""
    if parameter.kind == "choice":
        numbers = all(type(value) in (int, float) for value in parameter.values)
        return sorted(parameter.values) if numbers else []
    step = parameter.step or (1 if parameter.kind == "int" else 0)
    if parameter.log or not step or (parameter.high - parameter.low) / step > 1 / EDGE:
        return []
    count = round((parameter.high - parameter.low) / step)
    return [parameter.low + i * step for i in range(count + 1)]


def end_of(parameter: Parameter, side: str) -> Any:
    """The last value of a range on the "low" or the "high" side."""
    if values := ordered_values(parameter):
        return values[0 if side == "low" else -1]
    return parameter.low if side == "low" else parameter.high


def edge_share(parameter: Parameter) -> float:
    """The share of a range that one of its edges takes; 0: it has no edge."""
    if values := ordered_values(parameter):
        return 1 / len(values) if len(values) > 2 else 0.0
    return 0.0 if parameter.kind == "choice" else EDGE


def is_at_edge(parameter: Parameter, value: Any, side: str) -> bool:
    """Whether a value is at the edge on that side."""
    if ordered_values(parameter):
        return bool(math.isclose(value, end_of(parameter, side)))
    if parameter.kind == "choice":
        return False
    low, high = _on_scale(parameter, parameter.low), _on_scale(parameter, parameter.high)
    position = (_on_scale(parameter, value) - low) / (high - low)
    return position <= EDGE if side == "low" else position >= 1 - EDGE


def beyond(parameter: Parameter, side: str) -> Any:
    """The next value beyond an end: by a factor of three on a log scale, else a third of the range further.

    Clipped to the bounds of the hyperparameter; None: the range ends there already.
    """
    sign = -1 if side == "low" else 1
    end = end_of(parameter, side)
    if parameter.kind == "choice":
        wider = end * 2.0**sign
    elif parameter.log:
        wider = end * 3.0**sign
    else:
        step = parameter.step or (1 if parameter.kind == "int" else 0)
        third = (parameter.high - parameter.low) / 3
        wider = end + sign * (max(1, round(third / step)) * step if step else third)
    bounds = FIELDS[parameter.name].metadata
    wider = min(max(wider, bounds.get("low", wider)), bounds.get("high", wider))
    value = round(wider) if isinstance(end, int) else float(f"{wider:.3g}")
    return value if value != end and _is_valid(parameter.name, value) else None


def _on_scale(parameter: Parameter, value: float) -> float:
    return math.log(value) if parameter.log else float(value)


def _is_valid(name: str, value: Any) -> bool:
    """Whether the hyperparameter `name` can have this value."""
    try:
        checked(name, value)
    except UserError:
        return False
    return True


def _row(edge: Edge) -> tuple[str, str, str, str]:
    parameter = edge.parameter
    location = f"{edge.count} of {edge.of} at the {edge.side} end, {value_text(edge.end)}"
    if edge.wider is None:
        advice = f"none: it can only be {allowed(parameter.name)}"
    else:
        advice = f"widen it, for example to {value_text(edge.wider)}"
    return parameter.name, parameter.describe(), location, advice


def _advice(data: StudyData, edges: Sequence[Edge]) -> str:
    """The lines to change in a copy of the space, and the command that resumes the study with it."""
    if not edges:
        return ""
    lines = [line for edge in edges for line in _lines(edge)]
    names = listed(sorted({edge.parameter.name for edge in edges}))
    resume = resume_command(data, "--space", "wider.toml")
    return (
        note(f"The best {names} may be outside the search space. Change these lines in a copy of {SPACE}:")
        + code("\n".join(lines))
        + ("" if resume is None else note("and resume the study with it; all of its trials are kept:"))
        + ("" if resume is None else code(resume))
    )


def _lines(edge: Edge) -> tuple[str, str]:
    parameter = edge.parameter
    head = f"[space.{parameter.name}]"
    if parameter.kind == "choice":
        values = [edge.wider, *parameter.values] if edge.side == "low" else [*parameter.values, edge.wider]
        return head, f"values = [{', '.join(map(value_text, values))}]"
    return head, f"{edge.side} = {value_text(edge.wider)}   # was {value_text(edge.end)}"
