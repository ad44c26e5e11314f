"""Widen the ranges of a study: its trials, drawn from the old ranges, become trials of the new ones.

Optuna stores with every trial the distributions that it was drawn from. It refuses a categorical parameter
whose choices change, and its samplers leave a parameter whose range differs between trials out of their joint
model. So the study is copied within its storage, with the new ranges and under a new name; the old one is
deleted when the copy is complete.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from typing import Any

import optuna

from rigsl.errors import UserError
from search.space.distributions import distribution
from search.space.parameter import Parameter
from search.space.space import Space


def check(old: Space, new: Space, study: optuna.Study) -> None:
    """Check that all trials of `study`, drawn from `old`, could have been drawn from `new`.

    Raises:
        UserError: they could not; the sentence names the difference.
    """
    where, remedy = f"--space {new.path}", "start a new study with --start-from for that"
    if (old.dataset, old.features) != (new.dataset, new.features):
        raise UserError(f"{where}: is for {new.dataset} ({new.features}), the study is not; {remedy}")
    if old.fixed != new.fixed:
        changed = {name for name in {*old.fixed, *new.fixed} if old.fixed.get(name) != new.fixed.get(name)}
        raise UserError(f"{where}: [fixed] {min(changed)} differs from the study's; {remedy}")
    if set(old.parameters) != set(new.parameters):
        name = min(set(old.parameters) ^ set(new.parameters))
        raise UserError(f"{where}: [space.{name}] is not in both spaces; {remedy}")
    for name, parameter in new.parameters.items():
        if parameter.prior != old.parameters[name].prior:
            raise UserError(f"{where}: [space.{name}] prior differs from the study's; {remedy}")
        if _without_range(parameter) != _without_range(old.parameters[name]):
            raise UserError(f"{where}: [space.{name}] differs by more than its range; {remedy}")
    check_trials(new, study, where)


def check_trials(new: Space, study: optuna.Study, where: str) -> None:
    """Check that `new` contains all trials of `study`.

    Raises:
        UserError: it does not; the sentence starts with `where`.
    """
    for trial in study.get_trials(deepcopy=False):
        for name, value in _values(trial).items():
            if name in new.parameters and not new.parameters[name].contains(value):
                raise UserError(
                    f"{where}: trial {trial.number} has {name} = {value!r}, outside "
                    f"{new.parameters[name].describe()}; a resume can widen a range, not narrow it"
                )


def is_drawn_from(space: Space, study: optuna.Study) -> bool:
    """Whether the trials of `study` have the distributions of `space`."""
    kinds = {name: distribution(parameter) for name, parameter in space.parameters.items()}
    trials = study.get_trials(deepcopy=False)
    return all(kinds.get(name, kind) == kind for t in trials for name, kind in t.distributions.items())


def widened(study: optuna.Study, space: Space, name: str) -> optuna.Study:
    """A copy of `study` in its storage under `name`, its trials with the distributions of `space`."""
    storage = study._storage
    with contextlib.suppress(KeyError):  # left by an earlier attempt that was killed
        optuna.delete_study(study_name=name, storage=storage)
    copied = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    for key, value in study.user_attrs.items():
        copied.set_user_attr(key, value)
    for trial in study.get_trials(deepcopy=False):
        new = copy.deepcopy(trial)
        new.distributions = {name: distribution(space.parameters[name]) for name in trial.params}
        # The state of CMA-ES is scaled by the old ranges; the sampler restarts from the best trials.
        state = ("cmawm:", "x_for_tell")
        new.system_attrs = {
            key: value for key, value in trial.system_attrs.items() if not key.startswith(state)
        }
        copied.add_trial(new)
    return copied


def _without_range(parameter: Parameter) -> Parameter:
    return dataclasses.replace(parameter, low=0, high=0, values=())


def _values(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """A trial's parameter values; a waiting trial has them in an attribute."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
