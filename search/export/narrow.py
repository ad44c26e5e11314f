"""``space_next.toml``: the region where a study's good trials lie, as the space of a second study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import tomli_w
from optuna.trial import FrozenTrial

from rigsl.config import read_toml
from rigsl.files import replacing
from search.record import record
from search.run_folder import BEST, NEXT_SPACE, SPACE
from search.space.parameter import Parameter
from search.space.space import Space, read_space

#: The good trials: this share of all, but no fewer than so many.
GOOD, LEAST = 0.2, 5
#: So much of the good region's width is left on each side of it.
MARGIN = 0.25
_HEAD = """\
# Where the good trials of study {name} lie ({good} of {all} trials), for a second study:
#   python run_search.py --space {path} --start-from {name}
# Its start points are what the first study chose, and that study's baseline where it lies inside.
"""


def write_next_space(folder: Path, space: Space, study: optuna.Study, best: Mapping[str, Any]) -> Path | None:
    """Write the narrowed space into ``best/`` of a run folder; None where there are too few trials.

    Args:
        folder: of the study.
        space: of the study.
        best: the searched parameters of the configuration that won.
    """
    trials = record.scored(study)
    trials.sort(key=lambda trial: -(record.score(trial) or 0.0))
    if len(trials) < 2 * LEAST:
        return None
    good = trials[: max(LEAST, math.ceil(GOOD * len(trials)))]
    path = folder / BEST / NEXT_SPACE
    text = tomli_w.dumps(narrowed(read_toml(folder / SPACE), space, good, best))
    shown = Path("runs") / folder.name / BEST / NEXT_SPACE
    head = _HEAD.format(name=folder.name, good=len(good), all=len(trials), path=shown)
    with replacing(path) as temporary:
        temporary.write_text(head + text, encoding="utf-8")
        read_space(temporary)  # it must be one
    return path


def narrowed(
    content: Mapping[str, Any], space: Space, good: Sequence[FrozenTrial], best: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of a space file with its ranges cut down to where `good` trials and `best` lie."""
    everyone = [*(trial.params for trial in good), best]
    table, fixed = dict(content["space"]), dict(content.get("fixed", {}))
    for name, parameter in space.parameters.items():
        values = [params[name] for params in everyone if name in params]
        if not values:
            continue
        if parameter.kind == "choice":
            kept = [value for value in parameter.values if value in values]
            table[name] = {**table[name], "values": kept}
        else:
            table[name] = {**table[name], **_range(parameter, values)}
    _drop_dead(table, fixed, space)
    inside = [start for start in space.starts if _inside(start, table, fixed)]
    starts = [dict(best), *(start for start in inside[:1] if start != best)]
    return {**content, "fixed": fixed, "space": table, "start": [_of(table, start) for start in starts]}


def _range(parameter: Parameter, values: Sequence[float]) -> dict[str, float | int]:
    """The span of the values and a margin, within the range that there was."""
    if parameter.log:
        low, high = math.log(min(values)), math.log(max(values))
    else:
        low, high = min(values), max(values)
    margin = MARGIN * (high - low)
    if margin == 0:
        whole = math.log(parameter.high / parameter.low) if parameter.log else parameter.high - parameter.low
        margin = MARGIN * whole / 2
    ends = [low - margin, high + margin]
    if parameter.log:
        ends = [math.exp(end) for end in ends]
    if parameter.kind == "int":
        ends = [math.floor(ends[0]), math.ceil(ends[1])]
    if parameter.step:
        ends = [
            parameter.low + math.floor((ends[0] - parameter.low) / parameter.step) * parameter.step,
            parameter.low + math.ceil((ends[1] - parameter.low) / parameter.step) * parameter.step,
        ]
    inside = max(ends[0], parameter.low), min(ends[1], parameter.high)
    if parameter.kind == "float" and not parameter.step:  # digits that a reader needs, never inside the span
        digits = [_rounded(inside[0], math.floor), _rounded(inside[1], math.ceil)]
        inside = max(digits[0], parameter.low), min(digits[1], parameter.high)
    return {"low": inside[0], "high": inside[1]}


def _rounded(value: float, way: Any) -> float:
    """Three digits, rounded down or up."""
    if value == 0:
        return 0.0
    places = 2 - math.floor(math.log10(abs(value)))
    return round(float(way(value * 10.0**places)) / 10.0**places, max(places, 0))


def _drop_dead(table: dict[str, Any], fixed: dict[str, Any], space: Space) -> None:
    """A choice with one value left is fixed; a parameter whose condition can no longer hold is gone."""
    for name, parameter in space.parameters.items():
        if name not in table:
            continue
        when = {
            other: [value for value in values if value in _values(other, table, fixed, space)]
            for other, values in (parameter.when or {}).items()
        }
        if not all(when.values()):
            del table[name]
            continue
        if parameter.when is not None:
            open_ = {other: values for other, values in when.items() if other in table}
            table[name] = {key: value for key, value in table[name].items() if key != "when"}
            if open_:
                table[name]["when"] = open_
        if parameter.kind == "choice" and len(table[name]["values"]) == 1 and "when" not in table[name]:
            fixed[name] = table.pop(name)["values"][0]


def _values(name: str, table: Mapping[str, Any], fixed: Mapping[str, Any], space: Space) -> list[Any]:
    """What a parameter, on which another depends, can still be."""
    if name in fixed:
        return [fixed[name]]
    if name not in table:
        return []
    if space.parameters[name].kind == "choice":
        return list(table[name]["values"])
    low, high = table[name]["low"], table[name]["high"]
    return list(range(low, high + 1)) if space.parameters[name].kind == "int" else []


def _inside(start: Mapping[str, Any], table: Mapping[str, Any], fixed: Mapping[str, Any]) -> bool:
    """Whether a start point can be drawn from what is left."""
    for name, value in start.items():
        if name in fixed:
            inside = value == fixed[name]
        elif name not in table:
            inside = False
        elif "values" in table[name]:
            inside = value in table[name]["values"]
        else:
            inside = table[name]["low"] <= value <= table[name]["high"]
        if not inside:
            return False
    return True


def _of(table: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in start.items() if name in table}
