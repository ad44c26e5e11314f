"""The Optuna distributions of a space's parameters."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from search.space.parameter import Parameter


def distribution(parameter: Parameter) -> BaseDistribution:
    """The Optuna distribution that `Parameter.suggest` draws from."""
    asked = optuna.trial.FixedTrial({parameter.name: _first(parameter)})
    parameter.suggest(asked)
    return asked.distributions[parameter.name]


def _first(parameter: Parameter) -> Any:
    return parameter.values[0] if parameter.kind == "choice" else parameter.low
