"""What a study tells those who follow it: the tracker, the terminal, the keeper of the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from optuna.trial import FrozenTrial


class Listener(Protocol):
    """Hears every event of a study, once, in order, in the driver's main thread."""

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """A trial was handed to the workers; `resumed`: it goes on from where an earlier process left it."""

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Trial `number` finished an epoch; the metrics are those of its report, and ``epoch``."""

    def finished(self, trial: FrozenTrial) -> None:
        """A trial is complete, pruned or failed."""
