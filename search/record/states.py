"""The states of a trial in words: one table for the record, the terminal, MLflow and the report."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"
#: Optuna's state -> its word. A trial that waits for its first worker has no word: it has not begun.
STATES = {
    TrialState.COMPLETE: COMPLETE,
    TrialState.PRUNED: PRUNED,
    TrialState.FAIL: FAILED,
    TrialState.RUNNING: RUNNING,
}


def state_name(trial: FrozenTrial) -> str:
    """The state of a trial that has begun."""
    return STATES[trial.state]
