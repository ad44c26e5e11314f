"""The record of a study, in an Optuna storage, and what is read from it.

The record is the truth: what Ray and MLflow hold can be lost without losing a result. Every trial in it is
in one state: COMPLETE (ended by itself; the value is its best score), PRUNED (stopped early; every score
that it reported is kept), FAIL (with a reason), or RUNNING (interrupted; the next resume goes on with it).
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from rigsl.config import read_toml
from rigsl.errors import UserError
from search.record.storage import PatientStorage, connect, without_password
from search.run_folder import JOURNAL, STUDY

#: Study attribute: how the study stands.
STANDING = "standing"
#: A study's attributes: wall time of all its searches, and the GPU time of their trials.
SECONDS, GPU_SECONDS = "seconds", "gpu_seconds"
#: User attributes of a trial.
HASH, REASON = "config_hash", "reason"
ESTIMATE = "estimated_epoch_seconds"  #: what its training costs, by comparison
NOT_RUN = "not_run"  #: why a proposal was never handed to a worker
SUMMARY = ("epochs", "seconds", "best_epoch", "accuracy", "macro_f1")

optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_record(
    folder: Path, name: str, url: str | None = None, told: Callable[[str], object] | None = None
) -> optuna.Study:
    """The study `name` in the storage at `url` or in the journal of `folder`, made where it does not exist.

    The caller holds the study's lock. A process that was killed may have left half a line at the end of a
    journal, which would make every later line unreadable, and Optuna's own lock, on which the next writer
    would wait for 30 seconds; both are removed first. `told` hears of a database that is away or back.

    Raises:
        UserError: there is no storage at `url`.
    """
    path = folder / JOURNAL
    if path.exists():
        _drop_half_line(path)
    for left in folder.glob(JOURNAL + ".lock*"):
        with contextlib.suppress(FileNotFoundError):
            left.unlink()
    storage = connect(folder, url)
    if told is not None and isinstance(storage, PatientStorage):
        storage.told = told
    return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)


def read_record(folder: Path, url: str | None = None) -> optuna.Study:
    """The study of the run folder `folder`, for reading; `url`: where its storage is now.

    Raises:
        UserError: its storage does not answer, or does not hold it.
    """
    kept = read_toml(folder / STUDY) if (folder / STUDY).is_file() else {}
    name = kept.get("record", kept.get("study"))
    try:
        return optuna.load_study(study_name=name, storage=connect(folder, url or kept.get("storage")))
    except KeyError:
        where = without_password(url or kept.get("storage") or str(folder / JOURNAL))
        raise UserError(f"{where}: holds no study {name}") from None


def _drop_half_line(path: Path) -> None:
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            file.seek(end - 1)
            if file.read(1) == b"\n":
                break
            end -= 1
        if end < size:
            file.truncate(end)


def seconds(study: optuna.Study) -> float:
    """Wall time of all searches of the study so far."""
    return float(study.user_attrs.get(SECONDS, 0.0))


def gpu_seconds(study: optuna.Study) -> float:
    """GPU time of all trials so far: shares of a GPU times seconds."""
    return float(study.user_attrs.get(GPU_SECONDS, 0.0))


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """Every trial that was handed to a worker: not waiting, no repetition of an earlier one."""
    trials = study.get_trials(deepcopy=False)
    handed_out = [trial for trial in trials if trial.state != TrialState.WAITING]
    return [trial for trial in handed_out if NOT_RUN not in trial.user_attrs]


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have ended, in the order of their end."""
    ended = [trial for trial in begun(study) if trial.state.is_finished()]
    return sorted(ended, key=lambda trial: (trial.datetime_complete or datetime.max, trial.number))


def running(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that are running, or were when the last process ended."""
    return [trial for trial in begun(study) if trial.state == TrialState.RUNNING]


def score(trial: FrozenTrial) -> float | None:
    """The best validation score of a finished trial; None where it failed or never finished an epoch."""
    if trial.state == TrialState.COMPLETE:
        return trial.value
    if trial.state == TrialState.PRUNED:
        return max(trial.intermediate_values.values(), default=None)
    return None


def winner(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the best score; of equals a complete one, then the earliest.

    A pruned one can be it: the end of the study may have cut off the best trial of all, and what it reached
    until then is a score like any other, of weights that are kept.
    """
    trials = [trial for trial in finished(study) if score(trial) is not None]

    def rank(trial: FrozenTrial) -> tuple[float, bool, int]:
        return score(trial) or 0.0, trial.state == TrialState.COMPLETE, -trial.number

    return max(trials, key=rank, default=None)


def counts(study: optuna.Study) -> dict[str, int]:
    """Trials by state: complete, pruned, failed, running."""
    names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    found = Counter(names.get(trial.state, "running") for trial in begun(study))
    return {name: found[name] for name in (*names.values(), "running")}
