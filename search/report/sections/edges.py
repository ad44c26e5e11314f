"""Parameters whose good values lie at the edge of their range: the best may lie beyond it."""

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
from search.report.data import Material
from search.report.format import value_text
from search.report.html import code, note, section, table
from search.report.trial_views import ENOUGH, good
from search.space.parameter import Parameter

#: The edge is the outer tenth of a range, or its last value; so large a share of the good trials must lie
#: there, and more than chance puts there.
OUTER, SHARE, LEVEL = 0.1, 0.5, 0.05


@dataclass(frozen=True)
class Edge:
    """A parameter whose good values lie at one end of its range."""

    parameter: Parameter
    side: str  #: "low" or "high"
    there: int  #: good trials at the edge
    of: int  #: good trials that have the parameter
    wider: Any  #: a value beyond the edge; None where the parameter can have none

    @property
    def end(self) -> Any:
        """The last value of the range on that side."""
        values = ordered(self.parameter)
        if values:
            return values[0 if self.side == "low" else -1]
        return self.parameter.low if self.side == "low" else self.parameter.high


def edges(m: Material) -> str:
    """The section."""
    title, trials = "Ranges: where the good trials lie at an edge", good(m.study)
    if not trials:
        said = f"Ranges are judged from {ENOUGH} trials with a score on; this study has fewer."
        return section("edges", title, note(said))
    found = at_edges(list(m.space.parameters.values()), trials)
    if not found:
        said = f"None: of the best {len(trials)} trials, no parameter's values gather at an end of its range."
        return section("edges", title, note(said))
    rows = [_row(edge) for edge in found]
    open_ends = [edge for edge in found if edge.wider is not None]
    head = ("parameter", "range", "good trials", "advice")
    return section("edges", title, table(head, rows, words=(0, 1, 2, 3)), _advice(m, open_ends))


def at_edges(parameters: Sequence[Parameter], trials: Sequence[FrozenTrial]) -> list[Edge]:
    """The parameters whose values in `trials`, the good ones, gather at an end of their range."""
    found = []
    for parameter in parameters:
        values = [trial.params[parameter.name] for trial in trials if parameter.name in trial.params]
        if len(values) < 3:
            continue
        for side in ("low", "high"):
            there = sum(is_at(parameter, value, side) for value in values)
            chance = edge_chance(parameter)
            if not chance or there < SHARE * len(values):
                continue
            if stats.binomtest(there, len(values), chance, alternative="greater").pvalue < LEVEL:
                found.append(Edge(parameter, side, there, len(values), beyond(parameter, side)))
    return found


def ordered(parameter: Parameter) -> list[Any]:
    """The values of a parameter that has few and an order among them; of any other none."""
    if parameter.kind == "choice":
        numbers = all(type(value) in (int, float) for value in parameter.values)
        return sorted(parameter.values) if numbers else []
    step = parameter.step or (1 if parameter.kind == "int" else 0)
    if parameter.log or not step or (parameter.high - parameter.low) / step > 1 / OUTER:
        return []
    count = round((parameter.high - parameter.low) / step)
    return [parameter.low + i * step for i in range(count + 1)]


def edge_chance(parameter: Parameter) -> float:
    """The share of the range that is one of its edges; 0 where it has none."""
    if values := ordered(parameter):
        return 1 / len(values) if len(values) > 2 else 0.0
    return 0.0 if parameter.kind == "choice" else OUTER


def is_at(parameter: Parameter, value: Any, side: str) -> bool:
    """Whether a value lies at the edge."""
    if values := ordered(parameter):
        return bool(math.isclose(value, values[0 if side == "low" else -1]))
    if parameter.kind == "choice":
        return False
    low, high = _scale(parameter, parameter.low), _scale(parameter, parameter.high)
    place = (_scale(parameter, value) - low) / (high - low)
    return place <= OUTER if side == "low" else place >= 1 - OUTER


def beyond(parameter: Parameter, side: str) -> Any:
    """The next value to let the search try: three times as far on a log scale, else a third of the range on.

    It is brought back to what the hyperparameter can be; None where the range ends there already.
    """
    sign = -1 if side == "low" else 1
    end = Edge(parameter, side, 0, 0, None).end
    if parameter.kind == "choice":
        wanted = end * 2.0**sign
    elif parameter.log:
        wanted = end * 3.0**sign
    else:
        step = parameter.step or (1 if parameter.kind == "int" else 0)
        third = (parameter.high - parameter.low) / 3
        wanted = end + sign * (max(1, round(third / step)) * step if step else third)
    bounds = FIELDS[parameter.name].metadata
    wanted = min(max(wanted, bounds.get("low", wanted)), bounds.get("high", wanted))
    value = round(wanted) if isinstance(end, int) else float(f"{wanted:.3g}")
    return value if value != end and _can_be(parameter.name, value) else None


def _scale(parameter: Parameter, value: float) -> float:
    return math.log(value) if parameter.log else float(value)


def _can_be(name: str, value: Any) -> bool:
    try:
        checked(name, value)
    except UserError:
        return False
    return True


def _row(edge: Edge) -> tuple[str, str, str, str]:
    parameter = edge.parameter
    where = f"{edge.there} of {edge.of} at the {edge.side} end, {value_text(edge.end)}"
    if edge.wider is None:
        return parameter.name, parameter.describe(), where, f"none: it can only be {allowed(parameter.name)}"
    return parameter.name, parameter.describe(), where, f"widen, say to {value_text(edge.wider)}"


def _advice(m: Material, found: Sequence[Edge]) -> str:
    """What to write into a copy of the space, and how to go on with it."""
    if not found:
        return ""
    lines = [line for edge in found for line in _lines(edge)]
    names = listed(sorted({edge.parameter.name for edge in found}))
    said = f"The best {names} may lie outside what was searched. Copy space.toml, change these lines:"
    more = f"python run_search.py --resume {m.name} --space wider.toml --time-budget 30m"
    return (
        note(said)
        + code("\n".join(lines))
        + note("and go on; every trial is kept, its epochs count:")
        + code(more)
    )


def _lines(edge: Edge) -> tuple[str, str]:
    parameter = edge.parameter
    head = f"[space.{parameter.name}]"
    if parameter.kind == "choice":
        values = [edge.wider, *parameter.values] if edge.side == "low" else [*parameter.values, edge.wider]
        return head, f"values = [{', '.join(map(value_text, values))}]"
    return head, f"{edge.side} = {value_text(edge.wider)}   # was {value_text(edge.end)}"
