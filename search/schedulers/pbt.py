"""Population based training (Jaderberg et al., 2017), in which every score belongs to one configuration.

Every `interval` epochs a trial that is among the weakest of its population is stopped and replaced by a new
trial: a child that starts from the state of one of the best trials at that epoch (exploit), with other
hyperparameters (explore). Ray's own PopulationBasedTraining changes a trial's configuration while it runs,
pauses trials, and loses its state with Ray. Here the child waits in the record, like everything that the
decisions depend on: after a kill the search goes on as it would have without.

The trials of a population need not run side by side: a trial is compared with the newest others that have
trained as many epochs. So any number of workers serves, and none of them waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from search.record import lineage, record
from search.record.lineage import Origin
from search.schedulers.parent_states import Snapshots
from search.schedulers.perturb import explorable, explore
from search.space.schedule import Schedule
from search.space.space import Space

#: Attempts to explore until a child's hyperparameters are valid and new.
MAX_ATTEMPTS = 20


def check_pbt(space: Space, schedule: Schedule, epochs: int) -> None:
    """That population based training can act on this space and these epochs.

    Raises:
        UserError: it cannot.
    """
    if not explorable(space):
        raise UserError(
            f"{space.path}: [space] names no parameter that can change during a training, such as lr or "
            "dropout, so that the scheduler 'pbt' has nothing to explore; take another scheduler"
        )
    if schedule.interval >= epochs:
        raise UserError(
            f"{space.path}: [scheduler] interval: {schedule.interval} is not below the {epochs} epochs of a "
            "trial, so that the scheduler 'pbt' would never act; take a smaller interval"
        )


class Population:
    """Decides which trial is replaced, by whose child, and which states are kept for children.

    Args:
        study: the open record, on which all decisions are based.
        space: of the configurations.
        schedule: its `interval`, `population` and `quantile` matter here.
        seed: of the study.
        epochs: of a whole trial.
        trials: folder of the trials' folders; None: there are no files, and every snapshot counts as
        available. max_trials: that the budget allows; None: any number. excess: how much a configuration
        exceeds a worker's memory limit; a child does not exceed it.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        schedule: Schedule,
        *,
        seed: int,
        epochs: int,
        trials: Path | None,
        max_trials: int | None = None,
        excess: Callable[[RIGSLConfig], float] = lambda config: 0.0,
    ) -> None:
        self.study, self.space, self.schedule = study, space, schedule
        self.seed, self.epochs, self.max_trials, self.excess = seed, epochs, max_trials, excess
        self.snapshots = Snapshots(trials)

    def stops(self, number: int, epoch: int, score: float) -> bool:
        """Whether trial `number` is stopped after `epoch` and replaced by a child; `score`: its best score.

        If so, the child is in the record. Asked again, the answer is the same.
        """
        trials = self.study.get_trials(deepcopy=False)
        if lineage.replacement(trials, number):
            return True
        if not self._is_due(trials[number], epoch) or not self._has_budget(trials):
            return False
        scores = self._scores(epoch) | {number: score}
        weakest = self._weakest(scores, number)
        parents = [
            parent
            for parent in self._parents(scores, epoch)
            if scores[parent] > score and parent not in weakest
        ]
        if len(scores) < self.schedule.population or number not in weakest or not parents:
            return False
        rng = np.random.default_rng([self.seed, number, epoch])
        origin = Origin(parents[rng.integers(len(parents))], epoch)
        params = self._child(origin, rng)
        if params is None:
            return False
        attributes = {lineage.PARENT: origin.parent, lineage.PARENT_EPOCH: epoch, lineage.REPLACES: number}
        self.study.enqueue_trial(params, user_attrs=attributes)
        return True

    def reached(self, number: int, epoch: int) -> None:
        """`epoch` of trial `number` is in the record: its snapshot may replace another one."""
        if epoch % self.schedule.interval == 0 and self.snapshots.look_for(Origin(number, epoch)):
            self.tidy()

    def tidy(self) -> None:
        """Delete the snapshots from which no child will start."""
        trials = self.study.get_trials(deepcopy=False)
        unfinished = {trial.number: trial for trial in trials if not trial.state.is_finished()}
        needed = {lineage.origin(trial) for trial in unfinished.values()}
        for epoch in {origin.epoch for origin in self.snapshots.available}:
            needed |= {Origin(number, epoch) for number in self._parents(self._scores(epoch), epoch)}
        for origin in self.snapshots.available - needed:
            owner = unfinished.get(origin.parent)
            # A snapshot can be there before the score of its epoch is in the record.
            if owner is None or origin.epoch in owner.intermediate_values:
                self.snapshots.remove(origin)

    def clear(self) -> None:
        """Delete all snapshots: the study is over."""
        self.snapshots.clear()

    def _is_due(self, trial: FrozenTrial, epoch: int) -> bool:
        """Whether `trial` is compared at `epoch`: only if it trained this epoch itself, and only once."""
        origin = lineage.origin(trial)
        trained_itself = origin is None or epoch > origin.epoch
        is_recorded = epoch in trial.intermediate_values  # it was compared before an interruption
        return epoch % self.schedule.interval == 0 and trained_itself and not is_recorded

    def _has_budget(self, trials: Iterable[FrozenTrial]) -> bool:
        """Whether the budget allows one more trial; without it, a weak trial is better than none."""
        waiting = sum(trial.state == TrialState.WAITING for trial in trials)
        return self.max_trials is None or len(record.begun(self.study)) + waiting < self.max_trials

    def _scores(self, epoch: int) -> dict[int, float]:
        """Trial number -> score at `epoch`, of all trials that trained it and did not fail."""
        trials = [trial for trial in record.begun(self.study) if trial.state != TrialState.FAIL]
        return lineage.own_scores(trials, epoch)

    def _weakest(self, scores: dict[int, float], number: int) -> list[int]:
        """The bottom quantile of the population of trial `number`: the trial itself and the newest others.

        Compared with all trials of the study, old ones would look weaker the longer the search lasts. Of
        equal trials the later one is the weaker one.
        """
        others = sorted(scores.keys() - {number})[1 - self.schedule.population :]
        ranked = sorted([*others, number], key=lambda member: (scores[member], -member))
        return ranked[: max(1, int(self.schedule.quantile * len(ranked)))]

    def _parents(self, scores: dict[int, float], epoch: int) -> list[int]:
        """The best trials at `epoch` that have a snapshot: as many as the quantile of a population."""
        count = max(1, round(self.schedule.quantile * self.schedule.population))
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        return [number for number in ranked if self.snapshots.has(Origin(number, epoch))][:count]

    def _child(self, origin: Origin, rng: np.random.Generator) -> dict[str, Any] | None:
        """The parameters of a new child at `origin`, or None.

        They are valid, keep the parent's structure, and differ from those of the parent and of its other
        children at this epoch.
        """
        trials = self.study.get_trials(deepcopy=False)
        parent = trials[origin.parent].params
        taken = [parent, *(_params(trial) for trial in trials if lineage.origin(trial) == origin)]
        structure = self._config(parent)
        for _ in range(MAX_ATTEMPTS):
            params = explore(self.space, parent, rng)
            if params in taken:
                continue
            try:
                config = self._config(params)
            except UserError:  # values that do not go together
                continue
            if lineage.same_structure(structure, config) and self.excess(config) <= 0:
                return params
        return None

    def _config(self, params: dict[str, Any]) -> RIGSLConfig:
        return self.space.config(params, self.seed, epochs=self.epochs)


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters of a trial; a waiting one has them in an attribute."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
