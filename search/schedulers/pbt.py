"""Population based training (Jaderberg et al., 2017) whose every score belongs to one configuration.

At every `interval` epochs a trial among the weakest of its population is stopped, and a new trial takes its
place: a child that goes on from the state of one of the best at that epoch, with explored hyperparameters.
Ray's own PopulationBasedTraining changes a trial's configuration while it runs, pauses
trials, and forgets with Ray; here the child waits in the record, like everything that decides: after a kill
the search goes on as it would have without.

A population need not run side by side: a trial is compared with the newest ones that have been as far as it
is, so that any number of workers serves, and none of them ever waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from search.record import lineage, record
from search.record.lineage import Origin
from search.schedulers.parent_states import Snapshots
from search.schedulers.perturb import explore, explored
from search.space.schedule import Schedule
from search.space.space import Space

if TYPE_CHECKING:
    pass

#: Draws of a child's hyperparameters until they are valid and new.
TRIES = 20


def check_population(space: Space, schedule: Schedule, epochs: int) -> None:
    """Whether population based training has something to do.

    Raises:
        UserError: it has not.
    """
    if not explored(space):
        raise UserError(
            f"{space.path}: [space] names no parameter that can change in the course of a training, such as "
            "lr or dropout; the scheduler 'pbt' has nothing to explore, take another"
        )
    if schedule.interval >= epochs:
        raise UserError(
            f"{space.path}: [scheduler] interval: {schedule.interval} is not below the {epochs} epochs of a "
            "trial; the scheduler 'pbt' would never act"
        )


class Population:
    """Who is replaced, by whose child, and whose states are kept for that.

    Args:
        study: the open record, from which everything is decided.
        space: what may be tried.
        schedule: its `interval`, `population` and `quantile` matter here.
        seed: of the study.
        epochs: of a whole trial.
        trials: the folder of the trials' folders; None: there are none, and every state is taken to be there.
        most: trials that the budget allows; None: any number.
        excess: how much a configuration exceeds a worker's memory; a child does not.
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
        most: int | None = None,
        excess: Callable[[RIGSLConfig], float] = lambda config: 0.0,
    ) -> None:
        self.study, self.space, self.schedule = study, space, schedule
        self.seed, self.epochs, self.most, self.excess = seed, epochs, most, excess
        self.snapshots = Snapshots(trials)

    def stops(self, number: int, epoch: int, score: float) -> bool:
        """Whether trial `number`, whose best score is `score` after `epoch`, has to make room for a child.

        The child is in the record then. Asked again, the answer is the same.
        """
        everyone = self.study.get_trials(deepcopy=False)
        if lineage.replacement(everyone, number):
            return True
        if not self._is_due(everyone[number], epoch) or not self._has_room(everyone):
            return False
        scores = self._scores(epoch) | {number: score}
        weakest = self._weakest(scores, number)
        parents = [one for one in self._parents(scores, epoch) if scores[one] > score and one not in weakest]
        if len(scores) < self.schedule.population or number not in weakest or not parents:
            return False
        rng = np.random.default_rng([self.seed, number, epoch])
        start = Origin(parents[rng.integers(len(parents))], epoch)
        params = self._child(start, rng)
        if params is None:
            return False
        attributes = {lineage.PARENT: start.parent, lineage.PARENT_EPOCH: epoch, lineage.REPLACES: number}
        self.study.enqueue_trial(params, user_attrs=attributes)
        return True

    def reached(self, number: int, epoch: int) -> None:
        """Trial `number` has `epoch` in the record: its state may be one to keep, in place of another."""
        if epoch % self.schedule.interval == 0 and self.snapshots.look(Origin(number, epoch)):
            self.tidy()

    def tidy(self) -> None:
        """Drop the states from which no child will begin."""
        everyone = self.study.get_trials(deepcopy=False)
        unfinished = {trial.number: trial for trial in everyone if not trial.state.is_finished()}
        needed = {lineage.origin(trial) for trial in unfinished.values()}
        for epoch in {where.epoch for where in self.snapshots.held}:
            needed |= {Origin(number, epoch) for number in self._parents(self._scores(epoch), epoch)}
        for where in self.snapshots.held - needed:
            owner = unfinished.get(where.parent)
            if owner is None or where.epoch in owner.intermediate_values:  # else its score is on the way
                self.snapshots.drop(where)

    def clear(self) -> None:
        """Drop all states: the study is over."""
        self.snapshots.clear()

    def _is_due(self, trial: FrozenTrial, epoch: int) -> bool:
        """Whether `trial` is judged at `epoch`: at one that it trained itself, and once over all resumes."""
        start = lineage.origin(trial)
        own = start is None or epoch > start.epoch
        return epoch % self.schedule.interval == 0 and own and epoch not in trial.intermediate_values

    def _has_room(self, everyone: Iterable[FrozenTrial]) -> bool:
        """Whether the budget allows a further trial: else a weak one had better go on."""
        waiting = sum(trial.state == TrialState.WAITING for trial in everyone)
        return self.most is None or len(record.begun(self.study)) + waiting < self.most

    def _scores(self, epoch: int) -> dict[int, float]:
        """The scores at `epoch` of all trials that trained it and did not fail."""
        sound = [trial for trial in record.begun(self.study) if trial.state != TrialState.FAIL]
        return lineage.own_scores(sound, epoch)

    def _weakest(self, scores: dict[int, float], number: int) -> list[int]:
        """The bottom quantile of the population of trial `number`, itself and the newest others.

        All trials of old would be no measure: the longer the search, the weaker they look beside any new one.
        Of equals the later trial is the weaker one.
        """
        others = sorted(scores.keys() - {number})[1 - self.schedule.population :]
        ranked = sorted([*others, number], key=lambda one: (scores[one], -one))
        return ranked[: max(1, int(self.schedule.quantile * len(ranked)))]

    def _parents(self, scores: dict[int, float], epoch: int) -> list[int]:
        """The best at `epoch` whose state is there: as many as the quantile of a population."""
        most = max(1, round(self.schedule.quantile * self.schedule.population))
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        held = [one for one in ranked if self.snapshots.has(Origin(one, epoch))]
        return held[:most]

    def _child(self, start: Origin, rng: np.random.Generator) -> dict[str, Any] | None:
        """Parameters of a new child of `start`: valid, of its structure, not those of it or of a sibling."""
        everyone = self.study.get_trials(deepcopy=False)
        parent = everyone[start.parent].params
        taken = [parent, *(_params(trial) for trial in everyone if lineage.origin(trial) == start)]
        structure = self._config(parent)
        for _ in range(TRIES):
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


class PopulationScheduler(FIFOScheduler):  # type: ignore[misc]
    """Ray's side of a population: stops who makes room, and pauses nobody."""

    def __init__(self, metric: str, population: Population) -> None:
        super().__init__()
        self._metric, self.population = metric, population

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether the trial goes on."""
        number, epoch, score = trial.config["number"], result.get("epoch"), result.get(self._metric)
        if epoch is None or score is None or not self.population.stops(number, epoch, score):
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters of a trial; a waiting one has them in an attribute."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
