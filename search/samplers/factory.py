"""What a sampler factory is, and the seed of a trial's proposal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from optuna.samplers import BaseSampler

from search.space.space import Space

#: Space, seed of the study, number of a trial -> the sampler that proposes this trial.
SamplerFactory = Callable[[Space, int, int], BaseSampler]


def trial_seed(seed: int, number: int) -> int:
    """The seed for the proposal of trial `number` in a study with `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")
