"""A study at one moment: its ended trials, its winner and its counts, from one look at the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from search.record import record
from search.record.times import in_order_of_end
from search.space.budget import Spent


@dataclass(frozen=True)
class StudySnapshot:
    """What clean-up, stopper and terminal need to know of a study after one of its trials has ended."""

    ended: Sequence[FrozenTrial]  #: complete, pruned and failed trials, in the order of their end
    winner: FrozenTrial | None  #: the trial with the best score; see `record.best_of`
    counts: Mapping[str, int]  #: trials by state

    @property
    def scores(self) -> list[float | None]:
        """The scores of `ended`; None: the trial failed or finished no epoch."""
        return [record.score(trial) for trial in self.ended]

    def spent(self, seconds: float, gpu_seconds: float) -> Spent:
        """What the study has used of its budget; `seconds`: of search."""
        return Spent(seconds, gpu_seconds, self.scores, len(self.ended))

    def trial(self, number: int) -> FrozenTrial:
        """The ended trial `number`."""
        return next(trial for trial in reversed(self.ended) if trial.number == number)


def take_snapshot(study: optuna.Study) -> StudySnapshot:
    """How `study` stands now; the record is read once."""
    trials = record.begun(study)
    ended = in_order_of_end(trials)
    return StudySnapshot(ended, record.best_of(ended), record.count_states(trials))
