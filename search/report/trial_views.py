"""A study as it is plotted and judged: which trials, with which values."""

from __future__ import annotations

import copy
import math
from collections.abc import Container, Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.record import record

#: The best part of the trials, at which importance and range edges look: this share, but no fewer than that.
GOOD, FEWEST_GOOD = 0.2, 5
#: Below so many scored trials nothing is said of parameters.
ENOUGH = 2 * FEWEST_GOOD


class View(optuna.Study):
    """Some trials, under their own numbers, as Optuna's plots and evaluators read them.

    Copied into a new study, trials would be numbered anew wherever one is left out.
    """

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        empty = optuna.create_study(direction="maximize")
        super().__init__(empty.study_name, empty._storage)
        self._shown = list(trials)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in those states."""
        found = [trial for trial in self._shown if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


def as_ended(study: optuna.Study) -> View:
    """The trials that have ended, as they are: no repetition, nothing that waits or runs."""
    return View(sorted(record.finished(study), key=lambda trial: trial.number))


def as_scored(study: optuna.Study, unit: float = 1.0) -> View:
    """Every trial with a score, as a complete one whose value is its best score, in `unit` (100: percent).

    Optuna's importances and plots of parameters read complete trials only. Those that were stopped early are
    most of a study, and they are what shows where it is bad; what they reached until then is a lower bound.
    """
    return View(_completed(trial, unit) for trial in scored(study))


def scored(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have a score, by number."""
    trials = record.scored(study)
    return sorted(trials, key=lambda trial: trial.number)


def good(study: optuna.Study) -> list[FrozenTrial]:
    """The best of the scored trials, the best first; none where there are too few to speak of any."""
    trials = scored(study)
    if len(trials) < ENOUGH:
        return []
    most = max(FEWEST_GOOD, math.ceil(GOOD * len(trials)))
    return sorted(trials, key=lambda trial: (-(record.score(trial) or 0.0), trial.number))[:most]


def _completed(trial: FrozenTrial, unit: float) -> FrozenTrial:
    complete = copy.copy(trial)
    complete.state, complete.value = TrialState.COMPLETE, unit * (record.score(trial) or 0.0)
    return complete
