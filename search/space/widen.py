"""A study whose ranges are widened: its trials, drawn from the old ranges, become trials of the new ones.

Optuna keeps with every trial the ranges that it was drawn from, refuses a choice whose values change, and its
samplers leave a parameter whose range differs from trial to trial out of what they model together. So the
study is written once more into its storage, with the new ranges, under a new name; the old one is dropped
when the new one is complete.
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
    """Whether all trials of `study`, drawn from `old`, can have been drawn from `new`.

    Raises:
        UserError: they cannot; the sentence names what differs.
    """
    path, other = new.path, "start a new study with --start-from for that"
    if (old.dataset, old.features) != (new.dataset, new.features):
        raise UserError(f"--space {path}: is for {new.dataset} ({new.features}), the study is not; {other}")
    if old.fixed != new.fixed:
        changed = {name for name in {*old.fixed, *new.fixed} if old.fixed.get(name) != new.fixed.get(name)}
        raise UserError(f"--space {path}: [fixed] {min(changed)} differs from the study's; {other}")
    if set(old.parameters) != set(new.parameters):
        name = min(set(old.parameters) ^ set(new.parameters))
        raise UserError(f"--space {path}: [space.{name}] is not in both spaces; {other}")
    for name, parameter in new.parameters.items():
        if _kind(parameter) != _kind(old.parameters[name]):
            raise UserError(f"--space {path}: [space.{name}] differs by more than its range; {other}")
    for trial in study.get_trials(deepcopy=False):
        for name, value in _values(trial).items():
            if not new.parameters[name].contains(value):
                raise UserError(
                    f"--space {path}: trial {trial.number} has {name} = {value!r}, outside "
                    f"{new.parameters[name].describe()}; a resume can widen a range, not narrow it"
                )


def widened(study: optuna.Study, space: Space, name: str) -> optuna.Study:
    """A copy of `study` in its storage under `name`, its trials with the ranges of `space`."""
    storage = study._storage
    with contextlib.suppress(KeyError):  # of an earlier attempt that was killed
        optuna.delete_study(study_name=name, storage=storage)
    made = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    for key, value in study.user_attrs.items():
        made.set_user_attr(key, value)
    for trial in study.get_trials(deepcopy=False):
        new = copy.deepcopy(trial)
        new.distributions = {name: distribution(space.parameters[name]) for name in trial.params}
        # CMA-ES counts in shares of the old ranges; it begins anew around the best trials.
        ours = trial.system_attrs.items()
        new.system_attrs = {key: one for key, one in ours if not key.startswith(("cmawm:", "x_for_tell"))}
        made.add_trial(new)
    return made


def _kind(parameter: Parameter) -> Parameter:
    """A parameter without its range."""
    return dataclasses.replace(parameter, low=0, high=0, values=())


def _values(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """What a trial has drawn, or will have: a waiting one holds its values in an attribute."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
