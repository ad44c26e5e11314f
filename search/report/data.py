"""Everything that the report of a study is made from, read from its run folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from rigsl.errors import UserError, first_line
from rigsl.wording import listed
from search.confirm.final_record import ConfigurationRecord, FinalRecord, read_final_record
from search.record import record
from search.record.states import RUNNING
from search.record.study_options import read_study_options
from search.report.importance import Importances, measure
from search.run_folder import BEST, ENVIRONMENT, FACTS, METRICS, SPACE, read_file
from search.space.origin import origin
from search.space.space import Space, read_space

Json = Mapping[str, Any]


@dataclass(frozen=True)
class StudyData:
    """A study and its result, read from its run folder."""

    folder: Path
    study: optuna.Study
    space: Space
    options: Json  #: study.toml
    sessions: tuple[Json, ...] = ()  #: environment.json, one entry for each process that ran the study
    metrics: Json = field(default_factory=dict)  #: best/metrics.json; empty without a result of the winner
    final: FinalRecord = field(default_factory=FinalRecord)
    facts: Json = field(default_factory=dict)  #: facts.json; see `search.report.facts`

    @property
    def name(self) -> str:
        """The study's name: that of its folder."""
        return self.folder.name

    @property
    def corpus(self) -> str:
        """The name of the corpus."""
        facts = self.facts.get("corpus") or {}
        return str(facts.get("name") or self.metrics.get("corpus") or self.options["dataset"])

    @property
    def winner(self) -> FrozenTrial | None:
        """The trial whose configuration won."""
        if self.final.winner is not None:
            return self._trial(self.final.winner.trial)
        return self._trial(self.metrics["trial"]) if self.metrics else record.winner(self.study)

    @property
    def baseline(self) -> FrozenTrial | None:
        """The trial of the baseline, which is the first start point."""
        if self.final.baseline is not None:
            return self._trial(self.final.baseline.trial)
        return self._trial(0) if self.space.starts else None

    @property
    def winner_params(self) -> Json:
        """The searched hyperparameters of the winner; empty: there is none."""
        return _params(self.final.winner, self.winner)

    @property
    def origin(self) -> str:
        """Where the winner comes from: given, searched, or searched near a given one; see `origin`."""
        return origin(self.space, self.winner_params)

    @property
    def baseline_params(self) -> Json:
        """The searched hyperparameters of the baseline; empty: there is none."""
        return _params(self.final.baseline, self.baseline)

    @property
    def baseline_won(self) -> bool:
        """Whether the baseline itself is the winner."""
        final = self.final
        if final.winner is not None and final.baseline is not None:
            return bool(final.winner.config_hash == final.baseline.config_hash)
        return self.winner is not None and self.winner is self.baseline

    @property
    def test_openings(self) -> int:
        """How often the test split was opened to test a result (the paper protocol does not count)."""
        return sum(opening.protocol == "validation" for opening in self.final.openings)

    @property
    def reopened(self) -> str:
        """``test opened 2 times``, to be shown with every test score; empty if it was opened once at most."""
        return "" if self.test_openings < 2 else f"test opened {self.test_openings} times"

    @property
    def graph(self) -> Json:
        """What `facts` say of the result's graph; empty: nothing, or they are of an earlier result."""
        graph: Json = self.facts.get("graph") or {}
        weights = graph.get("weights")
        exported = self.metrics.get("weights_sha256", weights) if self.metrics else None
        return graph if weights in (None, exported) else {}  # earlier versions do not name them

    @property
    def newer_trials(self) -> int:
        """Trials that ended after the result was exported: the study was resumed and has not ended again."""
        if not self.metrics:
            return 0
        exported = (count for state, count in self.metrics["trials"].items() if state != RUNNING)
        return len(record.finished(self.study)) - int(sum(exported))

    @cached_property
    def importances(self) -> Importances | None:
        """The importance of every hyperparameter; None: the trials do not suffice."""
        return measure(self.study)

    def starts(self) -> list[datetime]:
        """When each process started; with a zone."""
        times = [session.get("started") for session in self.sessions]
        return [datetime.fromisoformat(time) for time in times if time]

    def _trial(self, number: int | None) -> FrozenTrial | None:
        trials = (trial for trial in record.finished(self.study) if trial.number == number)
        return next(trials, None)


def _params(configuration: ConfigurationRecord | None, trial: FrozenTrial | None) -> Json:
    if configuration is not None:
        return configuration.params
    return {} if trial is None else trial.params


@contextlib.contextmanager
def sound_files(*folders: Path) -> Iterator[None]:
    """Turn an error of making a report in this block into a sentence.

    The JSON files of a run folder are not checked key by key. Where one of them is not as it was written, the
    page stumbles over it somewhere.

    Raises:
        UserError: in place of an error that damaged files give; the error itself is its cause.
    """
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        where, reason = listed([str(folder) for folder in folders]), first_line(error, length=200)
        raise UserError(
            f"{where}: a report cannot be made, as one of the files is damaged ({type(error).__name__}: "
            f"{reason}); restore it from a copy"
        ) from error


def read_study_data(
    folder: Path, study: optuna.Study | None = None, storage: str | None = None, *, exported: bool = True
) -> StudyData:
    """Read a run folder.

    Args:
        folder: the run folder.
        study: its record, if it is open already.
        storage: address of its record, if it has moved.
        exported: whether ``best/`` has the result of the study, not that of an earlier end.

    Raises:
        UserError: its record does not answer, or one of its files cannot be read.
    """
    metrics = read_file(folder / BEST / METRICS, dict, run=folder) if exported else None
    final = read_final_record(folder)
    if final.winner is not None and final.test is None:
        metrics = None  # of an earlier end of the study: another configuration has won since
    return StudyData(
        folder=folder,
        study=record.read_record(folder, storage) if study is None else study,
        space=read_space(folder / SPACE),
        options=read_study_options(folder),
        sessions=tuple(read_file(folder / ENVIRONMENT, list, run=folder) or ()),
        metrics=metrics or {},
        final=final,
        facts=read_file(folder / FACTS, dict, run=folder) or {},
    )
