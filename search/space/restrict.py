"""Take values out of a choice of a search space, as if its file did not name them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from typing import Any

import tomli_w

from rigsl.errors import UserError
from search.space.space import Space, parse_space


def without_values(space: Space, name: str, dropped: Collection[Any], why: str) -> Space:
    """`space` without some values of the choice `name`; start points take the first value that is left.

    A prior on one of these values is gone, too.

    Args:
        space: with that choice.
        name: of the parameter.
        dropped: the values; at least one other value must be left.
        why: is written at the top of the text of the space, in one line.

    Raises:
        UserError: another parameter has one of these values as its condition.
    """
    left = [value for value in space.parameters[name].values if value not in dropped]
    for other in space.parameters.values():
        if any(value in dropped for value in (other.when or {}).get(name, ())):
            raise UserError(
                f"{space.path}: [space.{other.name}].when: needs {name} = "
                f"{', '.join(map(repr, dropped))}, which is not searched: {why}"
            )
    content = tomllib.loads(space.text)
    table = content["space"][name]
    table["values"] = left
    if (prior := space.parameters[name].prior) is not None and prior.value in dropped:
        table.pop("prior")
        table.pop("confidence", None)
    for start in content.get("start", []):
        if start[name] in dropped:
            start[name] = left[0]
    return parse_space(f"# {why}\n\n{tomli_w.dumps(content)}", space.path)
