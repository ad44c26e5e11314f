"""The parameters of a space as Optuna's distributions, grouped by the conditions under which they exist."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from search.samplers.encoding import Conditions
from search.space.distributions import distribution
from search.space.prior import Prior
from search.space.space import Space

Distributions = dict[str, BaseDistribution]


def distributions(space: Space) -> Distributions:
    """All parameters that have more than one value."""
    return {name: entry for group in condition_groups(space) for name, entry in group.items()}


def conditions(space: Space) -> Conditions:
    """The conditions of the parameters that do not always exist."""
    return {name: parameter.when for name, parameter in space.parameters.items() if parameter.when}


def priors(space: Space) -> dict[str, Prior]:
    """What is believed about parameters."""
    return {name: parameter.prior for name, parameter in space.parameters.items() if parameter.prior}


def condition_groups(space: Space) -> list[Distributions]:
    """The parameters, grouped by the conditions under which they exist; first those that always do."""
    needs: dict[str, frozenset[tuple[str, tuple[Any, ...]]]] = {}
    groups: dict[frozenset[tuple[str, tuple[Any, ...]]], Distributions] = {frozenset(): {}}
    for name, parameter in space.parameters.items():
        when = parameter.when or {}
        needs[name] = frozenset(when.items()).union(*(needs[other] for other in when))
        if not (entry := distribution(parameter)).single():
            groups.setdefault(needs[name], {})[name] = entry
    return list(groups.values())


def numbers_and_choices(group: Distributions) -> tuple[Distributions, Distributions]:
    """The numerical and the categorical parameters of a group."""
    choices = {name for name, entry in group.items() if isinstance(entry, CategoricalDistribution)}
    return (
        {name: entry for name, entry in group.items() if name not in choices},
        {name: entry for name, entry in group.items() if name in choices},
    )
