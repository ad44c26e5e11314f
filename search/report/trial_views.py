"""The trials of a study as plots and importances read them: which ones, with which values."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.record import record
from search.samplers.good_trials import MIN_SCORED, good_count


class StudyView(optuna.Study):
    """Some trials of a study under their own numbers, for Optuna's plots and evaluators.

    A new study with copies of them would renumber the trials wherever one is left out.
    """

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        empty = optuna.create_study(direction="maximize")
        super().__init__(empty.study_name, empty._storage)
        self._view = list(trials)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in those states."""
        trials = [trial for trial in self._view if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials


def ended_view(study: optuna.Study) -> StudyView:
    """The ended trials, unchanged; without repeated proposals and what waits or runs."""
    return StudyView(sorted(record.finished(study), key=lambda trial: trial.number))


def scored_view(study: optuna.Study, unit: float = 1.0) -> StudyView:
    """Every trial with a score, as a complete one whose value is its best score times `unit` (100: percent).

    Optuna's importances and parameter plots only read complete trials. Pruned trials are most of a study, and
    they show where it is bad; their score is a lower bound of what they would have reached.
    """
    return StudyView(_as_complete(trial, unit) for trial in scored_trials(study))


def scored_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have a score, by number."""
    return sorted(record.scored(study), key=lambda trial: trial.number)


def good_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best part of the scored trials, the best first; empty if there are fewer than MIN_SCORED."""
    trials = scored_trials(study)
    if len(trials) < MIN_SCORED:
        return []
    count = good_count(len(trials))
    return sorted(trials, key=lambda trial: (-(record.score(trial) or 0.0), trial.number))[:count]


def _as_complete(trial: FrozenTrial, unit: float) -> FrozenTrial:
    complete = copy.copy(trial)
    complete.state, complete.value = TrialState.COMPLETE, unit * (record.score(trial) or 0.0)
    return complete
