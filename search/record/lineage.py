"""Trials that start from another trial's state (population based training): their parents in the record.

A child is an ordinary trial with attributes that name its parent and the epoch after which it took over. Up
to that epoch its learning curve is its parent's, afterwards its own; its score is that of the whole lineage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import optuna
from optuna.trial import FrozenTrial

from rigsl.config import RIGSLConfig, from_toml
from search.record import record
from search.run_folder import CONFIG, snapshot_name

#: User attributes of a child. A parent of None: its state was lost, and the child starts at the first epoch.
PARENT, PARENT_EPOCH = "parent", "parent_epoch"
#: The trial that the child replaces.
REPLACES = "replaces"
#: Why its parent is not the one that it was proposed for.
ADOPTED = "adopted"


class Origin(NamedTuple):
    """Where a child starts: after epoch `epoch` of trial `parent`."""

    parent: int
    epoch: int


@dataclass(frozen=True)
class Stage:
    """A part of a lineage: trial `number`, trained with `config` up to the end of epoch `until`."""

    number: int
    config: RIGSLConfig
    until: int


def origin(trial: FrozenTrial | optuna.Trial) -> Origin | None:
    """Where `trial` starts; None: with fresh weights."""
    attributes = trial.user_attrs
    parent = attributes.get(PARENT)
    return None if parent is None else Origin(int(parent), int(attributes[PARENT_EPOCH]))


def is_best_its_own(trial: FrozenTrial) -> bool:
    """Whether the best epoch of `trial` was trained with its own configuration."""
    start = origin(trial)
    return start is None or int(trial.user_attrs.get("best_epoch", 0)) > start.epoch


def owner(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> FrozenTrial:
    """The trial whose configuration the best epoch of `trial` was trained with: itself, or a forebear.

    Args:
        trials: all trials of the study, by number.
        trial: one of them.
    """
    best = int(trial.user_attrs.get("best_epoch", 0))
    while (start := origin(trial)) is not None and best <= start.epoch:
        trial = trials[start.parent]
    return trial


def own_scores(trials: Iterable[FrozenTrial], epoch: int) -> dict[int, float]:
    """Trial number -> best score up to `epoch`, for the trials that trained this epoch themselves."""
    scores = {}
    for trial in trials:
        start = origin(trial)
        if epoch in trial.intermediate_values and (start is None or epoch > start.epoch):
            scores[trial.number] = trial.intermediate_values[epoch]
    return scores


def replacement(trials: Iterable[FrozenTrial], number: int) -> FrozenTrial | None:
    """The child that replaces trial `number`, if there is one."""
    return next((trial for trial in trials if trial.user_attrs.get(REPLACES) == number), None)


def reason(study: optuna.Study, number: int, epoch: int) -> str:
    """Why the scheduler stopped trial `number` after `epoch`."""
    child = replacement(study.get_trials(deepcopy=False), number)
    if child is None:
        return f"stopped by the scheduler after epoch {epoch}"
    return f"stopped after epoch {epoch}; trial {child.number} takes its place"


def snapshot_file(trials: Path, start: Origin) -> Path:
    """The parent's state from which a child starts at `start`; `trials`: folder of the trials' folders."""
    return trials / f"{start.parent:04d}" / snapshot_name(start.epoch)


def same_structure(config: RIGSLConfig, other: RIGSLConfig) -> bool:
    """Whether a training that began with one configuration can continue with the other."""
    from rigsl.training.trainer import CONTINUABLE  # PyTorch takes seconds, and samplers do without

    values, other_values = config.to_dict(), other.to_dict()
    return all(values[name] == other_values[name] for name in values if name not in CONTINUABLE)


def resolve_origin(
    study: optuna.Study, trial: optuna.Trial, config: RIGSLConfig, trials: Path | None
) -> Origin | None:
    """Where a trial starts that is about to run for the first time; None: with fresh weights.

    If its parent's state is lost, it starts from the best other trial whose state at that epoch fits
    `config`; without any, it starts with fresh weights. The record says so.
    """
    wanted = origin(trial)
    if wanted is None or trials is None or snapshot_file(trials, wanted).is_file():
        return wanted
    lost = f"the state of trial {wanted.parent} after epoch {wanted.epoch} is gone; "
    scores = own_scores(record.begun(study), wanted.epoch)
    for number in sorted(scores, key=lambda other: (-scores[other], other)):
        other = Origin(number, wanted.epoch)
        if snapshot_file(trials, other).is_file() and same_structure(config, trained_config(trials, number)):
            trial.set_user_attr(PARENT, number)
            trial.set_user_attr(ADOPTED, lost + f"that of trial {number} takes its place")
            return other
    trial.set_user_attr(PARENT, None)
    trial.set_user_attr(ADOPTED, lost + "it starts with fresh weights")
    return None


def trained_config(trials: Path, number: int) -> RIGSLConfig:
    """The configuration of trial `number`, as written by its worker."""
    return from_toml(trials / f"{number:04d}" / CONFIG)


def stages(study: optuna.Study, trials: Path, trial: FrozenTrial) -> list[Stage]:
    """The stages of training that led to the best epoch of `trial`, in order; one if it has no parent.

    A child that never improved on its parent owes its score to the parent: the stages end with the one in
    which the best epoch lies.
    """
    best, until = int(trial.user_attrs["best_epoch"]), int(trial.user_attrs["epochs"])
    ancestry: list[Stage] = []
    all_trials = study.get_trials(deepcopy=False)
    while True:
        start = origin(trial)
        if ancestry or start is None or best > start.epoch:
            ancestry.insert(0, Stage(trial.number, trained_config(trials, trial.number), until))
        if start is None:
            return ancestry
        trial, until = all_trials[start.parent], start.epoch
