"""Warm start: a study that begins with the results of another study (``--start-from``).

Trials of the same corpus, validation, epochs and ranges are observations of the same objective: they enter
the record, for the sampler only, and the best of them is trained again, so that the new study has its
weights. Scores on another corpus say nothing about this one, but good configurations transfer: the
best become start points. So do those of children of population based training, which owe their scores to
their parents' weights, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.wording import counted
from search.plan.plan import Plan
from search.record import lineage, record
from search.record.study_options import read_study_options
from search.run_folder import SPACE
from search.space.distributions import distribution
from search.space.parameter import Parameter
from search.space.space import Space, read_space

#: Study attribute: what was taken over from which study, in words.
STARTED_FROM = "started_from"
#: This many of the best configurations of another corpus become start points.
MAX_STARTS = 5


@dataclass(frozen=True)
class EarlierStudy:
    """What a warm start reads of the study that it starts from."""

    corpus: str  #: content hash
    validation: tuple[int, int]  #: folds of train, and the seed of their cut; zeros: dev alone
    epochs: int
    space: Space
    trials: Sequence[FrozenTrial]  #: with a score and distinct configurations, best first
    children: Set[int]  #: numbers of those that began with the weights of another trial


def read_earlier(folder: Path) -> EarlierStudy:
    """The study in the run folder `folder`; the plan of a new study reads it before anything is written.

    Raises:
        UserError: one of its files or its record cannot be read.
    """
    try:
        options = read_study_options(folder, whole=True)
        space, trials = read_space(folder / SPACE), _distinct_trials(folder)
        children = {trial.number for trial in trials if lineage.origin(trial) is not None}
        folds = options.get("validation_folds", 0)
        validation = folds, options["seed"] if folds else 0
        return EarlierStudy(options["corpus"], validation, options["epochs"], space, trials, children)
    except UserError as error:
        raise UserError(f"--start-from {folder.name}: {error}") from None


def warm_start(plan: Plan, study: optuna.Study) -> None:
    """Add what the study `plan.start_from` offers to a new record, after the start points of the space."""
    if plan.start_from is None or STARTED_FROM in study.user_attrs:
        return
    earlier = read_earlier(plan.start_from)
    trials = earlier.trials
    plan.space.enqueue_starts(study)
    configs = {trial.number: {**earlier.space.fixed, **trial.params} for trial in trials}
    validation = plan.validation_folds, plan.seed if plan.validation_folds else 0
    objective = plan.corpus.content_hash(), validation, plan.epochs
    comparable = (earlier.corpus, earlier.validation, earlier.epochs) == objective
    exact = {number: params for number, config in configs.items() if (params := _exact(plan.space, config))}
    observed = [trial for trial in trials if comparable and trial.number in exact.keys() - earlier.children]
    max_starts = 1 if observed else MAX_STARTS
    starts: list[dict[str, Any]] = []
    for trial in trials:
        if len(starts) == max_starts:
            break
        params = exact.get(trial.number) or _nearest(plan.space, configs[trial.number])
        if params and params not in (*plan.space.starts, *starts):  # in a narrower space, two can be the same
            study.enqueue_trial(params, skip_if_exists=True)
            starts.append(params)
    origin = plan.start_from.name
    # A kill in the middle of this function leaves some of them; the resume adds the others.
    there = {trial.user_attrs.get(record.NOT_RUN) for trial in study.get_trials(deepcopy=False)}
    for trial in observed:
        if _observed_in(origin, trial) not in there:
            _add_observation(study, plan.space, trial, exact[trial.number], origin)
    taken = f"{counted(len(observed), 'observation')} and {counted(len(starts), 'start point')} of {origin}"
    study.set_user_attr(STARTED_FROM, taken)


def _distinct_trials(folder: Path) -> list[FrozenTrial]:
    """The scored trials of a study, best first, without those that repeat a configuration.

    Of a child of population based training whose best epoch is its parent's, the parent counts.
    """
    trials = [trial for trial in record.scored(record.read_record(folder)) if lineage.is_best_its_own(trial)]
    trials.sort(key=lambda trial: -(record.score(trial) or 0.0))
    distinct = {str(trial.params): trial for trial in reversed(trials)}
    return [trial for trial in trials if distinct[str(trial.params)] is trial]


def _exact(space: Space, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters of `space` that give exactly `config`, apart from its epochs; None if none do."""
    params = _params(space, config, nearest=False)
    if params is None:
        return None
    same = space.config(params, 0)
    return params if RIGSLConfig().replace(**{**config, "epochs": same.epochs, "seed": 0}) == same else None


def _nearest(space: Space, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters of `space` nearest to `config`; None if together they are not a valid configuration."""
    params = _params(space, config, nearest=True)
    try:
        space.config(params or {}, 0)
    except UserError:
        return None
    return params


def _params(space: Space, config: Mapping[str, Any], *, nearest: bool) -> dict[str, Any] | None:
    """The values of `config` as parameters of `space`; None if one is not valid, even the nearest one."""
    defaults = RIGSLConfig().to_dict()
    params: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if not parameter.active(params):
            continue
        value = config.get(name, defaults[name])
        if nearest and not parameter.contains(value):
            value = _nearest_choice(parameter, value) if parameter.kind == "choice" else parameter.clip(value)
        if not parameter.contains(value):
            return None
        params[name] = value
    return params


def _nearest_choice(parameter: Parameter, value: Any) -> Any:
    """The nearest of a choice's numbers; the first of its values where they are not all numbers."""
    choices = parameter.values
    numbers = all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in choices)
    if not numbers or not isinstance(value, int | float):
        return choices[0]
    return min(choices, key=lambda choice: abs(choice - value))


def _add_observation(
    study: optuna.Study, space: Space, trial: FrozenTrial, params: dict[str, Any], origin: str
) -> None:
    """Add a trial of the study named `origin` for the sampler only: it is not counted as one of `study`."""
    study.add_trial(
        create_trial(
            state=trial.state,
            value=trial.value if trial.state == TrialState.COMPLETE else None,
            params=params,
            distributions={name: distribution(space.parameters[name]) for name in params},
            intermediate_values=dict(trial.intermediate_values),
            user_attrs={record.NOT_RUN: _observed_in(origin, trial)},
        )
    )


def _observed_in(origin: str, trial: FrozenTrial) -> str:
    """Why a trial of the study named `origin` is not run again."""
    return f"observed in study {origin}, trial {trial.number}"
