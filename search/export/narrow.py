"""A narrowed search space around the good trials of a study, for a second study: ``space_next.toml``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import tomli_w
from optuna.trial import FrozenTrial

from rigsl.config import read_toml
from rigsl.files import replacing
from search.command_lines import in_project, page_command
from search.record import lineage, record
from search.run_folder import BEST, NEXT_SPACE, SPACE
from search.samplers.good_trials import MIN_SCORED, good_count
from search.space.parameter import Parameter
from search.space.space import Space, read_space

#: The margin on each side of the good region, as a share of its width.
MARGIN = 0.25
#: Of a parameter's table.
_PRIOR_KEYS = ("prior", "confidence")
_HEAD = """\
# Where the good trials of study {name} lie ({good} of {all} trials), for a second study{place}:
#   {command}
# Its start points are the configuration that won, and the first study's baseline if it lies inside.
"""


def write_next_space(folder: Path, space: Space, study: optuna.Study, best: Mapping[str, Any]) -> Path | None:
    """Write the narrowed space into ``best/`` of a run folder; None: there are too few trials.

    Args:
        folder: the run folder.
        space: of the study.
        study: its record.
        best: the searched parameters of the configuration that won.
    """
    # A child of population based training may owe its score to its parent's configuration.
    trials = [trial for trial in record.scored(study) if lineage.is_best_its_own(trial)]
    trials.sort(key=lambda trial: -(record.score(trial) or 0.0))
    if len(trials) < MIN_SCORED:
        return None
    good = trials[: good_count(len(trials))]
    path = folder / BEST / NEXT_SPACE
    text = tomli_w.dumps(narrow_space(read_toml(folder / SPACE), space, good, best))
    runs = folder.parent
    head = _HEAD.format(
        name=folder.name,
        good=len(good),
        all=len(trials),
        place=", in the folder of the project" if in_project(runs) else "",
        command=page_command(runs, "--space", path, "--start-from", folder.name, named=True),
    )
    with replacing(path, parents=False) as temporary:
        temporary.write_text(head + text, encoding="utf-8")
        read_space(temporary)  # the file must be a valid space before it replaces another
    return path


def narrow_space(
    content: Mapping[str, Any], space: Space, good: Sequence[FrozenTrial], best: Mapping[str, Any]
) -> dict[str, Any]:
    """The `content` of a space file, its ranges cut down to the region of the `good` trials and `best`."""
    good_params = [*(trial.params for trial in good), best]
    table, fixed = dict(content["space"]), dict(content.get("fixed", {}))
    for name, parameter in space.parameters.items():
        values = [params[name] for params in good_params if name in params]
        if not values:
            continue
        if parameter.kind == "choice":
            choices = [value for value in parameter.values if value in values]
            table[name] = {**table[name], "values": choices}
        else:
            table[name] = {**table[name], **_narrowed_range(parameter, values)}
    _fix_and_drop(table, fixed, space)
    _drop_priors_outside(table, space)
    inside = [start for start in space.starts if _contains(table, fixed, start)]
    starts = [dict(best), *(start for start in inside[:1] if start != best)]
    return {**content, "fixed": fixed, "space": table, "start": [_searched(table, start) for start in starts]}


def _narrowed_range(parameter: Parameter, values: Sequence[float]) -> dict[str, float | int]:
    """The span of the `values` and a margin, within the parameter's range and on its steps."""
    if parameter.log:
        low, high = math.log(min(values)), math.log(max(values))
    else:
        low, high = min(values), max(values)
    margin = MARGIN * (high - low)
    if margin == 0:
        width = math.log(parameter.high / parameter.low) if parameter.log else parameter.high - parameter.low
        margin = MARGIN * width / 2
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
    bounds = max(ends[0], parameter.low), min(ends[1], parameter.high)
    if parameter.kind == "float" and not parameter.step:  # three digits are enough; rounded outwards
        outwards = [_three_digits(bounds[0], math.floor), _three_digits(bounds[1], math.ceil)]
        bounds = max(outwards[0], parameter.low), min(outwards[1], parameter.high)
    return {"low": bounds[0], "high": bounds[1]}


def _three_digits(value: float, rounding: Callable[[float], int]) -> float:
    """The value with three significant digits, rounded by `rounding`: floor or ceil."""
    if value == 0:
        return 0.0
    decimals = 2 - math.floor(math.log10(abs(value)))
    return round(float(rounding(value * 10.0**decimals)) / 10.0**decimals, max(decimals, 0))


def _fix_and_drop(table: dict[str, Any], fixed: dict[str, Any], space: Space) -> None:
    """Fix choices with one value left, and drop parameters whose condition can no longer hold (in place)."""
    for name, parameter in space.parameters.items():
        if name not in table:
            continue
        when = {
            other: [value for value in values if value in _possible_values(other, table, fixed, space)]
            for other, values in (parameter.when or {}).items()
        }
        if not all(when.values()):
            del table[name]
            continue
        if parameter.when is not None:
            still_searched = {other: values for other, values in when.items() if other in table}
            table[name] = {key: value for key, value in table[name].items() if key != "when"}
            if still_searched:
                table[name]["when"] = still_searched
        if parameter.kind == "choice" and len(table[name]["values"]) == 1 and "when" not in table[name]:
            fixed[name] = table.pop(name)["values"][0]


def _drop_priors_outside(table: dict[str, Any], space: Space) -> None:
    """Drop the priors that the good trials contradict: those outside the narrowed ranges (in place)."""
    for name in table:
        prior = space.parameters[name].prior
        if prior is not None and not _contains(table, {}, {name: prior.value}):
            table[name] = {key: value for key, value in table[name].items() if key not in _PRIOR_KEYS}


def _possible_values(
    name: str, table: Mapping[str, Any], fixed: Mapping[str, Any], space: Space
) -> list[Any]:
    """The values that a parameter, on which another depends, can still have."""
    if name in fixed:
        return [fixed[name]]
    if name not in table:
        return []
    if space.parameters[name].kind == "choice":
        return list(table[name]["values"])
    low, high = table[name]["low"], table[name]["high"]
    return list(range(low, high + 1)) if space.parameters[name].kind == "int" else []


def _contains(table: Mapping[str, Any], fixed: Mapping[str, Any], start: Mapping[str, Any]) -> bool:
    """Whether the narrowed space contains a start point."""
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


def _searched(table: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a start point whose parameters are still searched."""
    return {name: value for name, value in start.items() if name in table}
