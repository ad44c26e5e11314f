"""What MLflow should hold of a study, as its run folder and its record have it.

One run for the study and one below it for every trial. A search that goes on and a study that is sent later
(search/tracking/sync.py) both begin here, so that MLflow holds the same in the end. Files of a trial that has
ended are read only where MLflow lacks something of it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from rigsl.config import from_toml, read_toml
from search import run_folder
from search.record import record
from search.record.learning_curve import METRIC, read_curve
from search.record.states import COMPLETE, FAILED, PRUNED, STATES
from search.run_folder import CONFIG, ENVIRONMENT, SPACE
from search.space.budget import read_budget
from search.space.confirmation import read_final
from search.space.space import read_space
from search.tracking.system_metrics import PREFIX, last_second, read_system

#: The number of the study's own run.
PARENT = -1
#: State of a trial or a study -> status of its MLflow run.
STATUS = {COMPLETE: "FINISHED", PRUNED: "KILLED", FAILED: "FAILED", "interrupted": "KILLED"}
#: Options of a study that a resume may change: MLflow refuses a parameter with another value.
CHANGEABLE = ("budget", "final", "tracking_uri", "storage", "record", "start_from")
#: Step, time in ms since 1970, metric -> finite value.
Entry = tuple[int, int, dict[str, float]]
Loaded = tuple[dict[str, str], list[Entry]]


@dataclass
class Run:
    """What one MLflow run should hold."""

    number: int  #: of the trial; PARENT for the study's own
    name: str
    start: int  #: ms since 1970
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)  #: that are not there yet, in order of their steps
    status: str = "RUNNING"
    end: int | None = None
    artifacts: list[tuple[Path, str]] = field(default_factory=list)  #: file, folder in MLflow
    load: Callable[[], Loaded] | None = None  #: reads from the run folder what is not noted here
    last: dict[str, int] = field(default_factory=dict)  #: metric -> last step of what `load` reads
    shelf: Callable[[], Loaded] | None = None  #: reads all that there is of a trial that has ended
    noted: int = 1  #: changes so far
    sent: int = 0  #: changes that MLflow knows

    @property
    def dirty(self) -> bool:
        """Whether MLflow may not be up to date."""
        return self.noted != self.sent

    def note(self, noted: Entry) -> None:
        """One entry more."""
        self.entries.append(noted)
        self.noted += 1

    def read(self) -> None:
        """Read what earlier processes left."""
        if self.load is not None:
            params, entries = self.load()
            self.params, self.entries, self.load = params | self.params, entries + self.entries, None

    def lighten(self) -> None:
        """Forget the notes on a trial that has ended: its folder holds them, too."""
        if self.shelf is not None:
            self.load, self.shelf, self.params, self.entries = self.shelf, None, {}, []

    def copy(self) -> Run:
        """As it is now."""
        return dataclasses.replace(
            self,
            tags=dict(self.tags),
            params=dict(self.params),
            entries=list(self.entries),
            artifacts=list(self.artifacts),
        )


@dataclass(frozen=True)
class Frame:
    """What all runs of a study share."""

    folder: Path
    name: str
    options: dict[str, Any]  #: study.toml
    sessions: list[dict[str, Any]]  #: environment.json: one for every time that the study was started
    space_hash: str

    def origin(self, moment: int | None = None) -> dict[str, str]:
        """Tags that say what made a result: of the session that ran at `moment` (ms), by default the last."""
        begun = [one for one in self.sessions if moment is None or _milliseconds(one["started"]) <= moment]
        session = (begun or self.sessions[:1])[-1]
        return {
            "seed": str(self.options["seed"]),
            "space_hash": self.space_hash,
            "commit": str(session["commit"]),
            "versions": json.dumps(session["versions"]),
        }


def read_frame(folder: Path, name: str) -> Frame:
    """What the run folder `folder` says about the study `name`."""
    sessions = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    options = read_toml(folder / run_folder.STUDY)
    return Frame(folder, name, options, sessions, read_space(folder / SPACE).content_hash)


def study_run(frame: Frame, study: optuna.Study) -> Run:
    """The study's own run: its options, the curve of its trials' ends, what its machine did."""
    options = frame.options
    final = read_final(options.get("final", {}), run_folder.STUDY)
    tags = {
        "dataset": options["dataset"],
        "features": options["features"],
        "protocol": final.protocol,
        "state": "running",
        "budget": read_budget(options["budget"], run_folder.STUDY).describe(),
        "final": final.describe(),
        **frame.origin(),
    }
    params = {name: str(value) for name, value in options.items() if name not in CHANGEABLE}
    run = Run(PARENT, frame.name, _milliseconds(frame.sessions[0]["started"]), tags, params)
    best = -1.0
    for place, trial in enumerate(record.finished(study), 1):
        if (value := record.score(trial)) is not None:
            best = max(best, value)
            run.entries.append(point(trial, place, value, best))
    second = last_second(frame.folder)
    run.load = partial(_load_system, frame.folder, second)
    run.last = {PREFIX + "cpu_utilization_percentage": second} if second >= 0 else {}
    return run


def trial_run(frame: Frame, trial: FrozenTrial) -> Run:
    """A trial's run, with all that the record and the trial's folder hold of it."""
    run = Run(trial.number, f"trial {trial.number}", milliseconds(trial.datetime_start), {})
    stand(run, frame, trial)
    run.load, run.shelf = (
        partial(_load_trial, run_folder.trial_folder(frame.folder, trial.number), trial),
        None,
    )
    return run


def stand(run: Run, frame: Frame, trial: FrozenTrial) -> None:
    """Let a trial's `run` say how the trial stands."""
    state = STATES[trial.state]
    run.end = milliseconds(trial.datetime_complete) if trial.state.is_finished() else None
    run.status = STATUS.get(state, "RUNNING")
    attributes = {name: str(value) for name, value in trial.user_attrs.items()}
    run.tags = {"trial": str(trial.number), "state": state, **frame.origin(run.end), **attributes}
    run.last = {METRIC: trial.last_step} if trial.last_step is not None else {}
    if trial.state.is_finished():
        run.shelf = partial(_load_trial, run_folder.trial_folder(frame.folder, trial.number), trial)
    run.noted += 1


def point(trial: FrozenTrial, place: int, value: float, best: float) -> Entry:
    """A trial's end on the study's curve.

    The step is its place among the ends: in the order of the trials' numbers the best so far could fall.
    """
    return entry(place, milliseconds(trial.datetime_complete), {"trial_weighted_f1": value, METRIC: best})


def entry(step: int, stamp: int, values: Mapping[str, Any]) -> Entry:
    """One entry of a run's metrics: the finite numbers among `values`."""
    numbers = {
        name: float(value) for name, value in values.items() if name not in ("epoch", "time", "seconds")
    }
    return step, stamp, {name: value for name, value in numbers.items() if isfinite(value)}


def system_entry(line: Mapping[str, Any]) -> Entry:
    """A line of ``system.jsonl``."""
    return entry(int(line["seconds"]), int(1000 * line["time"]), line)


def milliseconds(moment: datetime | None) -> int:
    """Since 1970; of now where there is no `moment`."""
    return int(1000 * (moment or datetime.now()).timestamp())


def _load_trial(folder: Path, trial: FrozenTrial) -> Loaded:
    """Parameters, and the epochs of which the record has heard: a later one is reported again."""
    config = folder / CONFIG
    params = from_toml(config).to_dict() if config.is_file() else trial.params
    lines = read_curve(folder)
    stamps = _stamps(lines, milliseconds(trial.datetime_complete))
    entries = [
        entry(int(line["epoch"]), stamp, line)
        for line, stamp in zip(lines, stamps, strict=True)
        if line["epoch"] in trial.intermediate_values
    ]
    return {name: str(value) for name, value in params.items()}, entries


def _stamps(lines: Sequence[Mapping[str, Any]], end: int) -> list[int]:
    """When the epochs ended; curves of earlier versions say only how long each took."""
    left = sum(line["epoch_seconds"] for line in lines)
    stamps = []
    for line in lines:
        left -= line["epoch_seconds"]
        stamps.append(int(1000 * line["time"]) if "time" in line else end - int(1000 * left))
    return stamps


def _load_system(folder: Path, last: int) -> Loaded:
    return {}, [system_entry(line) for line in read_system(folder) if line["seconds"] <= last]


def _milliseconds(text: str) -> int:
    return milliseconds(datetime.fromisoformat(text))
