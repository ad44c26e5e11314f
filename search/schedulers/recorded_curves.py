"""The learning curves in the record: what a new scheduler already knows.

Ray's schedulers start empty after a restart: they would compare the first trials after a resume with nothing.
Ours start with the record, which holds every epoch of every trial. They know a trial by its number in the
record: a resumed trial is the same trial, not one more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.trial import TrialState

from search.record import record
from search.record.learning_curve import read_curve

#: Trial number -> epoch -> best score so far.
Curves = Mapping[int, Mapping[int, float]]


def recorded_curves(study: optuna.Study, trials: Path | None = None) -> Curves:
    """The curves of all trials that did not fail, with those epochs after which the scheduler has decided.

    A process may have been killed between the last epoch of a running trial and the decision whether that
    trial goes on. Its worker reports the epoch again, and only then it is counted. If the worker has trained
    another epoch since, as its learning curve tells, it was told to go on.

    Args:
        study: the record.
        trials: folder of the trials' folders; None: no trial is running.
    """
    begun = [trial for trial in record.begun(study) if trial.state != TrialState.FAIL]
    curves = {trial.number: dict(trial.intermediate_values) for trial in begun}
    if trials is not None:
        for trial in record.running(study):
            last = trial.last_step or 0
            if len(read_curve(trials / f"{trial.number:04d}")) <= last:
                curves[trial.number].pop(last, None)
    return {number: curve for number, curve in curves.items() if curve}


def recorded_key(number: int) -> str:
    """The key of a recorded trial, where Ray's schedulers keep trials by their Ray ids."""
    return f"recorded-{number}"
