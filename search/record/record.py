"""The record of a study: its trials in an Optuna storage, and what is read from them.

The record is the source of truth: Ray's and MLflow's own data can be lost without losing a result. Every
trial is in one state: COMPLETE (it reached its last epoch or stopped early by its own rule; its value is its
best score), PRUNED (stopped by the scheduler or by the end of the study; all reported scores are kept), FAIL
(with a reason), or RUNNING (also after an interruption; a resume continues it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from rigsl.config import read_toml
from rigsl.errors import UserError, first_line
from search.record.journal import repair
from search.record.matching import mismatch
from search.record.states import STATES
from search.record.storage import connect, sqlite_file
from search.record.times import in_order_of_end
from search.run_folder import JOURNAL, STUDY, TRIALS

#: Study attribute: running, interrupted, or finished and why.
STANDING = "standing"
#: Study attributes: wall time of all its searches, that of searches and final stages, GPU time of the trials.
SECONDS, TOTAL_SECONDS, GPU_SECONDS = "seconds", "total_seconds", "gpu_seconds"
#: User attributes of a trial.
HASH, REASON = "config_hash", "reason"
ESTIMATE = "estimated_epoch_seconds"  #: estimated cost of its training, relative to other trials
NOT_RUN = "not_run"  #: why a proposal was never handed to a worker

optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_record(
    folder: Path, name: str, url: str | None = None, notify: Callable[[str], object] | None = None
) -> optuna.Study:
    """The study `name` in the storage at `url` or in the journal of `folder`, created if it has not begun.

    The caller holds the study's lock. `notify` receives a message when a database stops answering and when it
    is back.

    Raises:
        UserError: there is no storage at `url`, or it does not hold the trials that `folder` has.
    """
    repair(folder / JOURNAL)
    if has_begun(folder):
        return load_begun(folder, name, url, notify)
    storage = connect(folder, url, notify)
    return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)


def create_record(folder: Path, name: str, url: str) -> bool:
    """Create the study `name` in the database at `url`; False: it holds a study of this name already."""
    try:
        optuna.create_study(storage=connect(folder, url), study_name=name, direction="maximize")
    except optuna.exceptions.DuplicatedStudyError:
        return False
    return True


def delete_record(folder: Path, name: str, url: str) -> None:
    """Delete the study `name` in the database at `url`."""
    optuna.delete_study(study_name=name, storage=connect(folder, url))


def has_begun(folder: Path) -> bool:
    """Whether the study in `folder` came as far as its first trial; before that it may have no record."""
    return (folder / TRIALS).is_dir()


def load_begun(
    folder: Path, name: str, url: str | None = None, notify: Callable[[str], object] | None = None
) -> optuna.Study:
    """The record of a study that has begun; never a new one, which would overwrite trial 0 and the others.

    Raises:
        UserError: the storage does not hold the study, or not the trials of its run folder.
    """
    remedy = "; bring back the record of this run folder"
    remedy += f", its {JOURNAL}" if url is None else ", or give the --storage that holds it"
    study = _load(folder, name, url, remedy, notify)
    if difference := mismatch(folder, study.get_trials(deepcopy=False)):
        raise UserError(f"{_where(folder, url)}: is not the record of this run: {difference}{remedy}")
    return study


def read_record(folder: Path, url: str | None = None) -> optuna.Study:
    """The study of the run folder `folder`, for reading; `url`: its storage, where that has moved.

    Raises:
        UserError: its storage does not answer, or has no such study.
    """
    options = read_toml(folder / STUDY) if (folder / STUDY).is_file() else {}
    return _load(folder, options.get("record", options.get("study")), url or options.get("storage"))


def _load(
    folder: Path,
    name: str | None,
    url: str | None,
    remedy: str = "",
    notify: Callable[[str], object] | None = None,
) -> optuna.Study:
    """The study `name`; neither a journal nor a SQLite file is created where there is none."""
    path, where = folder / JOURNAL if url is None else sqlite_file(url), _where(folder, url)
    if path is not None and not path.exists():
        raise UserError(f"{where}: does not exist, and study {name} was recorded there{remedy}")
    try:
        return optuna.load_study(study_name=name, storage=connect(folder, url, notify))
    except KeyError:
        raise UserError(f"{where}: has no study named {name}{remedy}") from None
    except UserError as error:  # says where
        raise UserError(f"{error}{remedy}") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{where}: cannot be read ({first_line(error, length=200)}){remedy}") from None


def _where(folder: Path, url: str | None) -> str:
    """The place of a record, as it may be printed."""
    return str(folder / JOURNAL) if url is None else f"--storage {url}"


def seconds(study: optuna.Study) -> float:
    """Wall time of all searches of the study so far; records of 0.1.0: with their final stages."""
    return float(study.user_attrs.get(SECONDS, 0.0))


def total_seconds(study: optuna.Study) -> float:
    """Wall time of all searches and final stages of the study so far."""
    return float(study.user_attrs.get(TOTAL_SECONDS, seconds(study)))


def gpu_seconds(study: optuna.Study) -> float:
    """GPU time of all trials so far: fractions of a GPU times seconds."""
    return float(study.user_attrs.get(GPU_SECONDS, 0.0))


def is_proposal(trial: FrozenTrial) -> bool:
    """Whether a kill has cut off the proposal of `trial`: nobody has decided yet whether it is run."""
    return trial.state == TrialState.RUNNING and HASH not in trial.user_attrs


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """Every trial that was handed to a worker; without those that wait or repeat an earlier one."""
    trials = study.get_trials(deepcopy=False)
    handed_out = [trial for trial in trials if trial.state != TrialState.WAITING]
    return [trial for trial in handed_out if NOT_RUN not in trial.user_attrs]


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have ended, in the order of their end."""
    return in_order_of_end(begun(study))


def running(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that are running, or were when the last process ended."""
    return [trial for trial in begun(study) if trial.state == TrialState.RUNNING]


def score(trial: FrozenTrial) -> float | None:
    """The best validation score of a finished trial; None if it failed or finished no epoch."""
    if trial.state == TrialState.COMPLETE:
        return trial.value
    if trial.state == TrialState.PRUNED:
        return max(trial.intermediate_values.values(), default=None)
    return None


def scored(study: optuna.Study) -> list[FrozenTrial]:
    """The finished trials that have a score, in the order of their end."""
    return [trial for trial in finished(study) if score(trial) is not None]


def winner(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the best score; see `best_of`."""
    return best_of(finished(study))


def counts(study: optuna.Study) -> dict[str, int]:
    """Trials by state: complete, pruned, failed, running."""
    return count_states(begun(study))


def best_of(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """The trial with the best score; of equal ones a complete trial, then the earliest.

    It can be a pruned one: the end of the study may have cut off the best trial, and the score that it had
    reached is as good as any other, since the weights of its best epoch are kept.
    """

    def rank(trial: FrozenTrial) -> tuple[float, bool, int]:
        return score(trial) or 0.0, trial.state == TrialState.COMPLETE, -trial.number

    return max((trial for trial in trials if score(trial) is not None), key=rank, default=None)


def count_states(trials: Iterable[FrozenTrial]) -> dict[str, int]:
    """Trials by state: complete, pruned, failed, running."""
    by_state = Counter(STATES[trial.state] for trial in trials)
    return {state: by_state[state] for state in STATES.values()}
