"""Searched parameters as Optuna distributions."""

from __future__ import annotations

import optuna
from optuna.distributions import BaseDistribution

from search.space.parameter import Parameter


def distribution(parameter: Parameter) -> BaseDistribution:
    """The Optuna distribution that `Parameter.suggest` draws from."""
    value = parameter.values[0] if parameter.kind == "choice" else parameter.low
    trial = optuna.trial.FixedTrial({parameter.name: value})
    parameter.suggest(trial)
    return trial.distributions[parameter.name]
