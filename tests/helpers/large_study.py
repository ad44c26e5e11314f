"""How much memory the trials of a large study leave in the driver."""

from __future__ import annotations

import tracemalloc
from contextlib import nullcontext
from pathlib import Path

import optuna

from benchmarks.speed.proposals import propose
from search.space.space import Space


def bytes_per_trial(study: optuna.Study, folder: Path, space: Space, trials: int = 100) -> float:
    """Bytes that each of so many further `trials` leaves in the driver."""
    tracemalloc.start()
    propose(study, folder, space, "random", trials, watch=nullcontext, grace=1)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return grown / trials
