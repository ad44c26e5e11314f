"""The events of a study, for those who follow it: clean-up, stopper, tracker and terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from search.record.snapshot import StudySnapshot
from search.record.trial_report import TrialReport


class Listener(Protocol):
    """Is called at every event of a study, once and in order, in the driver's main thread."""

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """A trial was handed to a worker; `resumed`: it continues where an earlier process left it."""

    def epoch(self, number: int, report: TrialReport) -> None:
        """Trial `number` finished an epoch."""

    def finished(self, trial: FrozenTrial, snapshot: StudySnapshot) -> None:
        """A trial is complete, pruned or failed; `snapshot`: the study with this end."""
