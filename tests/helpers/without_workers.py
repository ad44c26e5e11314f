"""Studies that run without Ray: their search and their final stage are functions of the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import optuna
import pytest

from search.confirm.stage import FinalStage
from search.execution.ray_session import EarlyRay
from search.plan.plan import Plan


def replace_workers(
    patch: pytest.MonkeyPatch,
    *,
    search: Callable[[Plan, optuna.Study], object] = lambda plan, study: None,
    final: Callable[[], object] = lambda: None,
) -> None:
    """Let `search.study.run` call `search` and `final` in place of the trials and of the final stage."""

    def searched(plan: Plan, study: optuna.Study, *_: object) -> str:
        search(plan, study)
        return "all trials done"

    def confirmed(stage: FinalStage) -> None:
        final()

    no_ray = contextlib.nullcontext(EarlyRay())
    patch.setattr("search.execution.ray_session.started_early", lambda *_: no_ray)
    patch.setattr("search.study._ray", lambda plan, signals, early: contextlib.nullcontext())
    patch.setattr("search.study._search", searched)
    patch.setattr(FinalStage, "run", confirmed)
