"""From one configuration to another, one change at a time: ablation paths.

Source: Fawcett and Hoos, Analysing differences between algorithm configurations through ablation, Journal of
Heuristics 2016. There every remaining change is run in every round; here a surrogate picks the next one, and
the path alone is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rigsl.wording import counted
from search.space.parameter import Parameter
from search.space.space import Space

Params = Mapping[str, Any]


def ablation_path(
    space: Space, start: Params, end: Params, predict: Callable[[Sequence[Params]], Sequence[float]]
) -> list[dict[str, Any]]:
    """The configurations from `start` to `end`, both included: each has one change more.

    A change that makes other parameters exist, or ends them, takes them with it.

    Args:
        space: of the parameters.
        start: searched hyperparameters of the first configuration.
        end: those of the last.
        predict: scores of configurations; in every round the change with the highest one comes next.
    """
    path = [dict(start)]
    while remaining := [name for name, value in end.items() if name in path[-1] and path[-1][name] != value]:
        candidates = [changed(space, path[-1], end, name) for name in remaining]
        scores = list(predict(candidates))
        path.append(candidates[scores.index(max(scores))])
    return path


def changed(space: Space, params: Params, end: Params, name: str) -> dict[str, Any]:
    """`params` with the value that `end` has for `name`, and the parameters that exist then.

    Those that did not exist before have their values in `end`, too.
    """
    wanted: dict[str, Any] = {**end, **params, name: end[name]}
    result: dict[str, Any] = {}
    for other, parameter in space.parameters.items():
        if parameter.active(result):
            result[other] = wanted[other] if other in wanted else _middle(parameter)
    return result


def _middle(parameter: Parameter) -> Any:
    """A value of a parameter that exists in neither configuration, but between them."""
    if parameter.kind == "choice":
        return parameter.values[0]
    return parameter.clip((parameter.low + parameter.high) / 2)


def changes_between(before: Params, after: Params) -> dict[str, tuple[Any, Any]]:
    """Name -> values before and after, of all that differs; None: the parameter does not exist there."""
    names = dict.fromkeys((*after, *before))
    return {
        name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    }


def simplest_in_words(simplest: int | None, changes: int) -> str:
    """The sentence on the simplest configuration that is not worse than the end of a path beyond noise.

    Args:
        simplest: its number of changes; None: not known.
        changes: of the path.
    """
    if simplest is None:
        return "Which configuration is as good as the winner is not known: there are too few trainings."
    if simplest == changes:
        return "No configuration before the winner is as good: the last change is needed."
    which = "the baseline itself" if simplest == 0 else f"the one after {counted(simplest, 'change')}"
    return (
        f"The simplest configuration that is not worse than the winner beyond noise is {which}; the winner "
        f"has {counted(changes, 'change')}."
    )
