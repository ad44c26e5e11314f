"""The learning curves in the record: what a new scheduler already knows.

Ray's schedulers start empty after a restart: they would compare the first trials after a resume with nothing.
Ours start with the record, which holds every epoch of every trial. They know a trial by its number in the
record: a resumed trial is the same trial, not one more.
"""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.trial import TrialState

from search.record import record

#: Trial number -> epoch -> best score so far.
Curves = Mapping[int, Mapping[int, float]]


def recorded_curves(study: optuna.Study) -> Curves:
    """The curves of all trials that did not fail."""
    trials = [trial for trial in record.begun(study) if trial.state != TrialState.FAIL]
    return {trial.number: dict(trial.intermediate_values) for trial in trials if trial.intermediate_values}


def recorded_key(number: int) -> str:
    """The key of a recorded trial, where Ray's schedulers keep trials by their Ray ids."""
    return f"recorded-{number}"
