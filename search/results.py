"""The results of a study: how a run of it ended; its trials, finalists and test scores, as typed objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from rigsl.errors import UserError
from search.confirm.answers import Answer, answers_of
from search.confirm.final_record import FinalRecord, read_final_record
from search.record import record
from search.record.states import state_name
from search.record.study_options import read_study_options
from search.run_folder import BEST, METRICS, STUDY

if TYPE_CHECKING:
    import pandas as pd

    from search.export.best import ExportedModel
    from search.plan.plan import Plan
    from search.tracking.registry import Registration


@dataclass(frozen=True)
class Outcome:
    """How a run of a study ended."""

    plan: Plan
    ending: str  #: why the search ended, in words
    interrupted: int | None  #: the signal that interrupted it; None: none did
    counts: Mapping[str, int]  #: trials by state
    exported: ExportedModel | None  #: None: interrupted, or no trial finished an epoch
    tracking_problem: str | None = None  #: why MLflow is not up to date; None: it is
    tracking_page: str = ""  #: of the study in MLflow, below its address
    registered: Registration | None = None  #: the model in MLflow's registry


@dataclass(frozen=True)
class TrialResult:
    """A trial of a study. Scores are weighted F1 on validation, as fractions."""

    number: int
    state: str  #: complete, pruned, failed or running
    score: float | None  #: its best score; None: it failed, finished no epoch, or has not ended
    params: Mapping[str, Any]  #: the searched hyperparameters
    epochs: int
    seconds: float | None  #: time of its training; None: not known
    reason: str  #: why it failed or was stopped early; empty: it was not
    curve: Mapping[int, float] = field(default_factory=dict)  #: epoch -> best score up to it


@dataclass(frozen=True)
class StudyResults:
    """A study, read from its run folder by `load_study`."""

    name: str
    folder: Path
    options: Mapping[str, Any]  #: the content of study.toml
    trials: Sequence[TrialResult]  #: by number
    final: FinalRecord  #: finalists and test scores; empty until the final stage of the study
    best: Path | None  #: folder of the exported checkpoint; None: there is none yet

    @property
    def answers(self) -> Mapping[str, Answer]:
        """Name -> answer on test: configuration, and taught and average where the study has them.

        All were fixed before test was opened, and opened together; empty: test was not opened.
        """
        test = self.final.test
        return {} if test is None else {answer.name: answer for answer in answers_of(test)}

    def trials_frame(self) -> pd.DataFrame:
        """One row per trial: number, state, score, epochs, seconds, ``params.NAME`` for each parameter."""
        import pandas as pd

        names = list(dict.fromkeys(name for trial in self.trials for name in trial.params))
        columns: dict[str, list[Any]] = {
            name: [getattr(trial, name) for trial in self.trials]
            for name in ("number", "state", "score", "epochs", "seconds")
        }
        columns |= {f"params.{name}": [trial.params.get(name) for trial in self.trials] for name in names}
        frame = pd.DataFrame(columns)
        return frame.astype({"score": float, "seconds": float})

    def curves_frame(self) -> pd.DataFrame:
        """One row per trial and epoch: trial, epoch, score (the best one up to that epoch)."""
        import pandas as pd

        rows = [(trial.number, epoch, score) for trial in self.trials for epoch, score in trial.curve.items()]
        return pd.DataFrame(rows, columns=["trial", "epoch", "score"])


def load_study(folder: Path | str, storage: str | None = None) -> StudyResults:
    """Read the results of a study, which may be running, from its run folder.

    Args:
        folder: its run folder, ``runs/STUDY``.
        storage: address of its record's database, if that has moved.

    Raises:
        UserError: there is no study in `folder`, or its record cannot be read.
    """
    path = Path(folder)
    if not (path / STUDY).is_file():
        raise UserError(f"{folder}: is not the run folder of a study; it has no {STUDY}")
    study = record.read_record(path, storage)
    return StudyResults(
        name=path.resolve().name,
        folder=path,
        options=read_study_options(path),
        trials=[_trial_result(trial) for trial in record.begun(study)],
        final=read_final_record(path),
        best=path / BEST if (path / BEST / METRICS).is_file() else None,
    )


def _trial_result(trial: FrozenTrial) -> TrialResult:
    attributes = trial.user_attrs
    return TrialResult(
        number=trial.number,
        state=state_name(trial),
        score=record.score(trial),
        params=dict(trial.params),
        epochs=int(attributes.get("epochs", trial.last_step or 0)),
        seconds=attributes.get("seconds"),
        reason=str(attributes.get(record.REASON, "")),
        curve=dict(sorted(trial.intermediate_values.items())),
    )
