"""What each MLflow run of a study should contain, according to its run folder and its record.

The study has one run, and every trial has a child run of it. A search that resumes and a later sync
(search/tracking/sync.py) both start here, so MLflow ends up with the same content. The files of an ended
trial are only read if MLflow lacks something of it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from rigsl.config import from_toml
from rigsl.errors import UserError
from search import run_folder
from search.record import record, times
from search.record.learning_curve import METRIC, read_curve
from search.record.states import COMPLETE, FAILED, PRUNED, STATES
from search.record.study_options import read_study_options
from search.run_folder import CONFIG, ENVIRONMENT, SPACE, read_file
from search.space.budget import read_budget
from search.space.confirmation import read_final
from search.space.space import read_space
from search.tracking.system_metrics import PREFIX, last_second, read_system

#: The number of the study's own run, the parent of the trials' runs.
PARENT = -1
#: State of a trial or a study -> status of its MLflow run; every other state is RUNNING.
STATUS = {COMPLETE: "FINISHED", PRUNED: "KILLED", FAILED: "FAILED", "interrupted": "KILLED"}
#: Options of a study that a resume may change: MLflow refuses to change the value of a parameter.
CHANGEABLE = ("budget", "final", "tracking_uri", "storage", "record", "start_from", "force")
#: Metrics of one step: step, time in ms since 1970, metric -> finite value.
Entry = tuple[int, int, dict[str, float]]
#: Parameters and entries.
Loaded = tuple[dict[str, str], list[Entry]]


@dataclass
class RunState:
    """What one MLflow run should contain; `writer` sends what MLflow lacks of it."""

    number: int  #: of the trial; PARENT for the study's own run
    name: str
    start: int  #: ms since 1970
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)  #: buffered metrics, not sent yet, in order of steps
    status: str = "RUNNING"
    end: int | None = None  #: ms since 1970
    artifacts: list[tuple[Path, str]] = field(default_factory=list)  #: file, folder in MLflow
    loader: Callable[[], Loaded] | None = None  #: reads from the run folder what is not buffered here
    last_steps: dict[str, int] = field(default_factory=dict)  #: metric -> last step of what `loader` reads
    full_loader: Callable[[], Loaded] | None = None  #: of an ended trial: reads everything
    changes: int = 1  #: number of changes so far
    sent_changes: int = 0  #: number of changes that MLflow has got

    @property
    def pending(self) -> bool:
        """Whether there are changes that MLflow may not have got."""
        return self.changes != self.sent_changes

    def add(self, entry: Entry) -> None:
        """Buffer the metrics of one more step."""
        self.entries.append(entry)
        self.changes += 1

    def load(self) -> None:
        """Read what is not buffered here from the run folder, unless that was done before."""
        if self.loader is not None:
            params, entries = self.loader()
            self.params, self.entries, self.loader = params | self.params, entries + self.entries, None

    def drop_buffer(self) -> None:
        """Forget what is buffered of an ended trial: its folder has it, and `load` reads it again."""
        if self.full_loader is not None:
            self.loader, self.full_loader, self.params, self.entries = self.full_loader, None, {}, []

    def copy(self) -> RunState:
        """A copy whose containers do not change with this one's."""
        return dataclasses.replace(
            self,
            tags=dict(self.tags),
            params=dict(self.params),
            entries=list(self.entries),
            artifacts=list(self.artifacts),
        )


@dataclass(frozen=True)
class StudyContext:
    """What all runs of a study share: its run folder, options and environments."""

    folder: Path
    options: dict[str, Any]  #: study.toml
    sessions: list[dict[str, Any]]  #: environment.json: one entry for every start of the study
    space_hash: str

    def provenance(self, moment: int | None = None) -> dict[str, str]:
        """Tags for seed, space and code of the session that ran at `moment` (ms); None: of the last one."""
        started = [
            session
            for session in self.sessions
            if moment is None or iso_milliseconds(session["started"]) <= moment
        ]
        session = (started or self.sessions[:1])[-1]
        return {
            "seed": str(self.options["seed"]),
            "space_hash": self.space_hash,
            "commit": str(session["commit"]),
            "versions": json.dumps(session["versions"]),
        }


def read_context(folder: Path) -> StudyContext:
    """The context of the study in the run folder `folder`.

    Raises:
        UserError: one of its files is missing or damaged.
    """
    sessions = read_file(folder / ENVIRONMENT, list, run=folder)
    if not sessions:
        raise UserError(f"{folder / ENVIRONMENT}: is missing or empty; restore it from a copy")
    options = read_study_options(folder)
    return StudyContext(folder, options, sessions, read_space(folder / SPACE).content_hash)


def study_run(context: StudyContext, study: optuna.Study) -> RunState:
    """The study's own run: its options, its trials' scores in the order of their end, system metrics."""
    options = context.options
    final = read_final(options.get("final", {}), run_folder.STUDY)
    tags = {
        "dataset": options["dataset"],
        "features": options["features"],
        "protocol": final.protocol,
        "state": "running",
        "budget": read_budget(options["budget"], run_folder.STUDY).describe(),
        "final": final.describe(),
        **context.provenance(),
    }
    params = {name: str(value) for name, value in options.items() if name not in CHANGEABLE}
    run = RunState(
        PARENT, context.folder.name, iso_milliseconds(context.sessions[0]["started"]), tags, params
    )
    best = -1.0
    for position, trial in enumerate(record.finished(study), 1):
        if (score := record.score(trial)) is not None:
            best = max(best, score)
            run.entries.append(trial_end_entry(trial, position, score, best))
    second = last_second(context.folder)
    run.loader = partial(_load_system, context.folder, second)
    run.last_steps = {PREFIX + "cpu_utilization_percentage": second} if second >= 0 else {}
    return run


def trial_run(context: StudyContext, trial: FrozenTrial) -> RunState:
    """A trial's run; what the record and the trial's folder have of it is loaded when it is needed."""
    run = RunState(trial.number, f"trial {trial.number}", milliseconds(times.started_at(trial)), {})
    update_trial_run(run, context, trial)
    run.loader, run.full_loader = _trial_loader(context, trial), None
    return run


def update_trial_run(run: RunState, context: StudyContext, trial: FrozenTrial) -> None:
    """Update state, end and tags of the `run` of a trial."""
    state = STATES[trial.state]
    run.end = milliseconds(times.ended_at(trial)) if trial.state.is_finished() else None
    run.status = STATUS.get(state, "RUNNING")
    attributes = {name: str(value) for name, value in trial.user_attrs.items()}
    run.tags = {"trial": str(trial.number), "state": state, **context.provenance(run.end), **attributes}
    run.last_steps = {METRIC: trial.last_step} if trial.last_step is not None else {}
    if trial.state.is_finished():
        run.full_loader = _trial_loader(context, trial)
    run.changes += 1


def trial_end_entry(trial: FrozenTrial, position: int, score: float, best: float) -> Entry:
    """The end of a trial as metrics of the study's run: its score, and the best one so far.

    The step is the trial's `position` in the order of ends: ordered by trial number, the best could fall.
    """
    stamp = milliseconds(times.ended_at(trial))
    return metrics_entry(position, stamp, {"trial_weighted_f1": score, METRIC: best})


def metrics_entry(step: int, stamp: int, values: Mapping[str, Any]) -> Entry:
    """The entry of one step: the finite numbers among `values`."""
    numbers = {
        name: float(value) for name, value in values.items() if name not in ("epoch", "time", "seconds")
    }
    return step, stamp, {name: value for name, value in numbers.items() if isfinite(value)}


def system_entry(line: Mapping[str, Any]) -> Entry:
    """A line of ``system.jsonl`` as an entry; the step is the second of the study."""
    return metrics_entry(int(line["seconds"]), int(1000 * line["time"]), line)


def milliseconds(moment: datetime | None) -> int:
    """Milliseconds since 1970 of `moment`; None: of now."""
    return int(1000 * (moment or datetime.now(UTC)).timestamp())


def iso_milliseconds(text: str) -> int:
    """Milliseconds since 1970 of a time in ISO 8601."""
    return milliseconds(datetime.fromisoformat(text))


def _trial_loader(context: StudyContext, trial: FrozenTrial) -> Callable[[], Loaded]:
    return partial(_load_trial, run_folder.trial_folder(context.folder, trial.number), trial)


def _load_trial(folder: Path, trial: FrozenTrial) -> Loaded:
    """Parameters, and the epochs that the record knows: later ones are reported again by a resume."""
    config = folder / CONFIG
    params = from_toml(config).to_dict() if config.is_file() else trial.params
    lines = read_curve(folder)
    stamps = _epoch_stamps(lines, milliseconds(times.ended_at(trial)))
    entries = [
        metrics_entry(int(line["epoch"]), stamp, line)
        for line, stamp in zip(lines, stamps, strict=True)
        if line["epoch"] in trial.intermediate_values
    ]
    return {name: str(value) for name, value in params.items()}, entries


def _epoch_stamps(lines: Sequence[Mapping[str, Any]], end: int) -> list[int]:
    """When the epochs ended (ms); learning curves of earlier versions only have the length of each epoch."""
    remaining = sum(line["epoch_seconds"] for line in lines)
    stamps = []
    for line in lines:
        remaining -= line["epoch_seconds"]
        stamps.append(int(1000 * line["time"]) if "time" in line else end - int(1000 * remaining))
    return stamps


def _load_system(folder: Path, last: int) -> Loaded:
    """The system metrics up to the second `last`; the study's run has no parameters in the folder."""
    return {}, [system_entry(line) for line in read_system(folder) if line["seconds"] <= last]
