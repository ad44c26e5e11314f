"""What a study gives back: how its run ended, and its trials, finalists and test scores as typed objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.export.best import Exported
from search.plan.plan import Plan
from search.tracking.registry import Registration


@dataclass(frozen=True)
class Outcome:
    """How a run of a study ended."""

    plan: Plan
    ending: str  #: why the search ended, in words
    interrupted: int | None  #: the signal that interrupted it
    counts: Mapping[str, int]
    exported: Exported | None  #: None: interrupted, or no trial finished an epoch
    tracking_problem: str | None = None
    tracking_page: str = ""  #: of MLflow, below its address
    registered: Registration | None = None  #: the model in MLflow's registry
