"""A study that begins with what another one found (``--start-from``).

Trials of the same corpus, epochs and ranges are observations of the same function: they enter the record,
for the sampler alone, and the best of them is trained again, so that the new study holds its weights. From
another corpus scores say nothing here, but good configurations transfer: its best ones are tried first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from rigsl.config import RIGSLConfig, read_toml
from rigsl.errors import UserError
from search import run_folder
from search.plan.plan import Plan
from search.record import record
from search.run_folder import SPACE
from search.space.distributions import distribution
from search.space.parameter import Parameter
from search.space.space import Space, read_space

#: Study attribute: what was taken over, in words.
TAKEN = "started_from"
#: So many of another corpus's best configurations are tried first.
BEST = 5


def begin(plan: Plan, study: optuna.Study) -> None:
    """Put what `plan.start_from` offers into a new record, behind the start points of the space."""
    if plan.start_from is None or TAKEN in study.user_attrs:
        return
    plan.space.enqueue_starts(study)
    other = read_toml(plan.start_from / run_folder.STUDY)
    space, trials = read_space(plan.start_from / SPACE), _scored(plan.start_from)
    configs = {trial.number: {**space.fixed, **trial.params} for trial in trials}
    same = (other["corpus"], other["epochs"]) == (plan.corpus.content_hash(), plan.epochs)
    equal = {number: params for number, config in configs.items() if (params := _exact(plan.space, config))}
    observed = [trial for trial in trials if same and trial.number in equal]
    tried = 0
    for trial in trials:
        if tried == (1 if observed else BEST):
            break
        params = equal.get(trial.number) or _near(plan.space, configs[trial.number])
        if params and params not in plan.space.starts:
            study.enqueue_trial(params, skip_if_exists=True)
            tried += 1
    for trial in observed:
        _observe(plan, study, trial, equal[trial.number])
    taken = f"{len(observed)} observations and {tried} start points of {plan.start_from.name}"
    study.set_user_attr(TAKEN, taken)


def _scored(folder: Path) -> list[FrozenTrial]:
    """The trials with a score, best first; of equal configurations the first."""
    trials = [
        trial for trial in record.finished(record.read_record(folder)) if record.score(trial) is not None
    ]
    trials.sort(key=lambda trial: -(record.score(trial) or 0.0))
    distinct = {str(trial.params): trial for trial in reversed(trials)}
    return [trial for trial in trials if distinct[str(trial.params)] is trial]


def _exact(space: Space, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters of `space` that give exactly `config`, its epochs aside; None: none do."""
    params = _drawn(space, config, near=False)
    if params is None:
        return None
    made = space.config(params, 0)
    return params if RIGSLConfig().replace(**{**config, "epochs": made.epochs, "seed": 0}) == made else None


def _near(space: Space, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters of `space` nearest to `config`; None where they make no valid configuration."""
    params = _drawn(space, config, near=True)
    try:
        space.config(params or {}, 0)
    except UserError:
        return None
    return params


def _drawn(space: Space, config: Mapping[str, Any], *, near: bool) -> dict[str, Any] | None:
    defaults = RIGSLConfig().to_dict()
    params: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if not parameter.active(params):
            continue
        value = config.get(name, defaults[name])
        if near and not parameter.contains(value):
            value = _clipped(parameter, value)
        if not parameter.contains(value):
            return None
        params[name] = value
    return params


def _clipped(parameter: Parameter, value: Any) -> Any:
    """The value of a parameter nearest to `value`."""
    if parameter.kind == "choice":
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in parameter.values)
        if not numbers or not isinstance(value, int | float):
            return parameter.values[0]
        return min(parameter.values, key=lambda one: abs(one - value))
    value = min(max(value, parameter.low), parameter.high)
    if parameter.step:
        value = parameter.low + round((value - parameter.low) / parameter.step) * parameter.step
    return math.floor(value) if parameter.kind == "int" else float(value)


def _observe(plan: Plan, study: optuna.Study, trial: FrozenTrial, params: dict[str, Any]) -> None:
    """A trial of the other study as an observation for the sampler; it is no trial of this study."""
    origin = f"observed in study {(plan.start_from or Path()).name}, trial {trial.number}"
    study.add_trial(
        create_trial(
            state=trial.state,
            value=trial.value if trial.state == TrialState.COMPLETE else None,
            params=params,
            distributions={name: distribution(plan.space.parameters[name]) for name in params},
            intermediate_values=dict(trial.intermediate_values),
            user_attrs={record.NOT_RUN: origin},
        )
    )
