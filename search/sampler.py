"""Which Optuna sampler proposes a trial."""

from __future__ import annotations

import hashlib
import warnings

import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

SAMPLERS = ("tpe", "random", "qmc", "gp")


def make_sampler(name: str, seed: int, number: int) -> BaseSampler:
    """The sampler that proposes trial `number`: a new one for every trial, seeded by study and trial.

    So, with one worker, a resumed study proposes what it would have proposed without the interruption, and
    never the same random points again.
    """
    own = int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _make(name, seed, own)


def _make(name: str, seed: int, own: int) -> BaseSampler:
    if name == "random":
        return RandomSampler(seed=own)
    if name == "qmc":  # the sequence's place is in the record; its scrambling must be the same all along
        independent = RandomSampler(seed=own)
        return QMCSampler(
            scramble=True, seed=seed, independent_sampler=independent, warn_independent_sampling=False
        )
    if name == "gp":
        return GPSampler(seed=own, independent_sampler=RandomSampler(seed=own))
    return TPESampler(multivariate=True, group=True, constant_liar=True, seed=own)
