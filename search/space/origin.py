"""Where a configuration comes from: a start point of the space file, the search, or the search near one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from search.space.parameter import Parameter
from search.space.space import Space

#: Numbers that differ by at most this share of their range are near each other.
NEAR = 0.1
#: A configuration is near a start point if it differs in at most so many parameters.
NEAR_CHANGES = 2


def origin(space: Space, params: Mapping[str, Any]) -> str:
    """``given (start point 2)``, ``searched near start point 2`` or ``searched``.

    Start points are numbered from 1, as their tables ``[[start]]`` stand in the space file; of several near
    ones the nearest is named. `params` are the searched parameters of the configuration.
    """
    for number, start in enumerate(space.starts, start=1):
        if _same(start, params):
            return f"given (start point {number})"
    changes = [_changes(space, start, params) for start in space.starts]
    if changes and min(changes) <= NEAR_CHANGES:
        return f"searched near start point {changes.index(min(changes)) + 1}"
    return "searched"


def _same(start: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    return start.keys() == params.keys() and all(
        math.isclose(value, params[name], rel_tol=1e-12)
        if isinstance(value, float)
        else value == params[name]
        for name, value in start.items()
    )


def _changes(space: Space, start: Mapping[str, Any], params: Mapping[str, Any]) -> int:
    """In how many parameters that both have they are apart."""
    return sum(
        _apart(space.parameters[name], start[name], params[name]) for name in start.keys() & params.keys()
    )


def _apart(parameter: Parameter, one: Any, other: Any) -> bool:
    if parameter.kind == "choice":
        return bool(one != other)
    low, high, first, second = (
        math.log(value) if parameter.log else float(value)
        for value in (parameter.low, parameter.high, one, other)
    )
    return abs(first - second) > NEAR * (high - low)
