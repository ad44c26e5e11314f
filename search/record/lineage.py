"""Trials that begin from another trial's state: what the record says of them, and how they begin.

A child is an ordinary trial whose attributes name its parent and the epoch after which it took over. Until
then its curve is the parent's, from then on its own; what it is worth belongs to the whole lineage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import optuna
from optuna.trial import FrozenTrial

from rigsl.config import RIGSLConfig, from_toml
from rigsl.training.trainer import CONTINUABLE
from search.record import record
from search.run_folder import CONFIG, snapshot_name

#: User attributes of a child; a parent of None: its state was gone, and the child begins at its first epoch.
PARENT, PARENT_EPOCH = "parent", "parent_epoch"
#: Whose place it takes.
REPLACES = "replaces"
#: Why its parent is not the one that it was made from.
ADOPTED = "adopted"


class Origin(NamedTuple):
    """Where a child begins: behind epoch `epoch` of trial `parent`."""

    parent: int
    epoch: int


@dataclass(frozen=True)
class Stage:
    """A part of a lineage: trial `number` trained under `config` until the end of epoch `until`."""

    number: int
    config: RIGSLConfig
    until: int


def origin(trial: FrozenTrial | optuna.Trial) -> Origin | None:
    """Where `trial` begins; None: with fresh weights."""
    attributes = trial.user_attrs
    parent = attributes.get(PARENT)
    return None if parent is None else Origin(int(parent), int(attributes[PARENT_EPOCH]))


def own_scores(trials: Iterable[FrozenTrial], epoch: int) -> dict[int, float]:
    """The scores after `epoch` of the trials that trained it themselves; number -> best score so far."""
    found = {}
    for trial in trials:
        start = origin(trial)
        if epoch in trial.intermediate_values and (start is None or epoch > start.epoch):
            found[trial.number] = trial.intermediate_values[epoch]
    return found


def replacement(trials: Iterable[FrozenTrial], number: int) -> FrozenTrial | None:
    """The child that takes the place of trial `number`, if one does."""
    return next((trial for trial in trials if trial.user_attrs.get(REPLACES) == number), None)


def reason(study: optuna.Study, number: int, epoch: int) -> str:
    """Why the scheduler stopped trial `number` after `epoch`."""
    child = replacement(study.get_trials(deepcopy=False), number)
    if child is None:
        return f"stopped by the scheduler after epoch {epoch}"
    return f"stopped after epoch {epoch}; trial {child.number} takes its place"


def snapshot(trials: Path, where: Origin) -> Path:
    """The file from which a child can begin at `where`; `trials`: the folder of the trials' folders."""
    return trials / f"{where.parent:04d}" / snapshot_name(where.epoch)


def same_structure(one: RIGSLConfig, other: RIGSLConfig) -> bool:
    """Whether a training can go on from the one configuration with the other."""
    left, right = one.to_dict(), other.to_dict()
    return all(left[name] == right[name] for name in left if name not in CONTINUABLE)


def settle(
    study: optuna.Study, trial: optuna.Trial, config: RIGSLConfig, trials: Path | None
) -> Origin | None:
    """Where a trial that is handed out for the first time begins.

    Where its parent's state is gone, the best other trial whose state at that epoch fits `config` takes the
    parent's place; where there is none, the trial begins with fresh weights. The record says so.
    """
    wanted = origin(trial)
    if wanted is None or trials is None or snapshot(trials, wanted).is_file():
        return wanted
    lost = f"the state of trial {wanted.parent} after epoch {wanted.epoch} is gone; "
    scores = own_scores(record.begun(study), wanted.epoch)
    for number in sorted(scores, key=lambda other: (-scores[other], other)):
        other = Origin(number, wanted.epoch)
        if snapshot(trials, other).is_file() and same_structure(config, trained(trials, number)):
            trial.set_user_attr(PARENT, number)
            trial.set_user_attr(ADOPTED, lost + f"that of trial {number} takes its place")
            return other
    trial.set_user_attr(PARENT, None)
    trial.set_user_attr(ADOPTED, lost + "it begins with fresh weights")
    return None


def trained(trials: Path, number: int) -> RIGSLConfig:
    """The configuration of trial `number`, as its worker wrote it down."""
    return from_toml(trials / f"{number:04d}" / CONFIG)


def stages(study: optuna.Study, trials: Path, trial: FrozenTrial) -> list[Stage]:
    """How the best epoch of `trial` came about, in order; one stage where it has no parent.

    A child that never became better than its parent had been owes its score to the parent: the stages end
    with the one that holds the best epoch.
    """
    best, until = int(trial.user_attrs["best_epoch"]), int(trial.user_attrs["epochs"])
    found: list[Stage] = []
    everyone = study.get_trials(deepcopy=False)
    while True:
        start = origin(trial)
        if found or start is None or best > start.epoch:
            found.insert(0, Stage(trial.number, trained(trials, trial.number), until))
        if start is None:
            return found
        trial, until = everyone[start.parent], start.epoch
