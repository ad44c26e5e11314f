"""What a run folder holds of a study's result: all that the report is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from rigsl.config import read_toml
from search import run_folder
from search.confirm.final_record import FinalRecord, read_final_record
from search.record import record
from search.run_folder import BEST, ENVIRONMENT, FACTS, METRICS, SPACE
from search.space.space import Space, read_space

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Material:
    """A study and its result, read from its run folder."""

    folder: Path
    study: optuna.Study
    space: Space
    options: Json  #: study.toml
    sessions: tuple[Json, ...] = ()  #: environment.json, one for each process that ran the study
    metrics: Json = field(default_factory=dict)  #: best/metrics.json; empty without a result
    final: FinalRecord = field(default_factory=FinalRecord)
    facts: Json = field(default_factory=dict)  #: what needed the corpus; see `facts`

    @property
    def name(self) -> str:
        """Of the study: its folder's."""
        return self.folder.name

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        known = self.facts.get("corpus") or {}
        return str(known.get("name") or self.metrics.get("corpus") or self.options["dataset"])

    @property
    def winner(self) -> FrozenTrial | None:
        """The trial whose configuration won."""
        if self.final.winner is not None:
            return self._trial(self.final.winner.trial)
        return self._trial(self.metrics["trial"]) if self.metrics else record.winner(self.study)

    @property
    def baseline(self) -> FrozenTrial | None:
        """The trial of the baseline: the first start point."""
        if self.final.baseline is not None:
            return self._trial(self.final.baseline.trial)
        return self._trial(0) if self.space.starts else None

    @property
    def same(self) -> bool:
        """Whether the baseline itself has won."""
        final = self.final
        if final.winner is not None and final.baseline is not None:
            return bool(final.winner.config_hash == final.baseline.config_hash)
        return self.winner is not None and self.winner is self.baseline

    @property
    def opened(self) -> int:
        """How often the test split was opened to test a result."""
        return sum(opening.protocol == "validation" for opening in self.final.openings)

    @property
    def again(self) -> str:
        """Stands wherever a test score does, once the test split was opened more than once."""
        return "" if self.opened < 2 else f"test opened {self.opened} times"

    @property
    def newer(self) -> int:
        """Trials that have ended since the result was made: the study was resumed and is not at its end."""
        if not self.metrics:
            return 0
        known = (count for name, count in self.metrics["trials"].items() if name != "running")
        return len(record.finished(self.study)) - int(sum(known))

    def starts(self) -> list[datetime]:
        """When each process began, in the time of its machine, as the record's times are."""
        given = [session.get("started") for session in self.sessions]
        return [datetime.fromisoformat(moment).replace(tzinfo=None) for moment in given if moment]

    def _trial(self, number: int | None) -> FrozenTrial | None:
        found = [trial for trial in record.finished(self.study) if trial.number == number]
        return found[0] if found else None


def read_material(
    folder: Path, study: optuna.Study | None = None, storage: str | None = None, *, exported: bool = True
) -> Material:
    """What the run folder holds.

    Args:
        folder: of the run.
        study: its record, where it is open already.
        storage: where its record is now, if not where it was.
        exported: whether there is a result in ``best/``.

    Raises:
        UserError: its record does not answer, or a file of it cannot be read.
    """
    metrics = read_json(folder / BEST / METRICS) if exported else None
    return Material(
        folder=folder,
        study=record.read_record(folder, storage) if study is None else study,
        space=read_space(folder / SPACE),
        options=read_toml(folder / run_folder.STUDY),
        sessions=tuple(read_json(folder / ENVIRONMENT) or ()),
        metrics=metrics or {},
        final=read_final_record(folder),
        facts=read_json(folder / FACTS) or {},
    )


def read_json(path: Path) -> Any:
    """The content of a file; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
