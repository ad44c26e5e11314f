"""The samplers of the contest, each through its public interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec

from optuna import samplers as optunas
from optuna.samplers import BaseSampler

from benchmarks.optimisers.smac_sampler import SMACSampler
from search.samplers import GPSampler, TPESampler

#: Seed of a study -> its sampler.
MakeSampler = Callable[[int], BaseSampler]
#: Ours, and the one that the significance tests compare it with.
OURS, REFERENCE = "gp", "Optuna TPE"
#: Is no package that the others need.
SMAC = "SMAC3"
#: Need so much time for a proposal that they run on a part of the problems only.
SLOW = ("Optuna GPSampler", SMAC)

SAMPLERS: Mapping[str, MakeSampler] = {
    OURS: lambda seed: GPSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    REFERENCE: lambda seed: optunas.TPESampler(seed=seed),
    "Optuna TPE, univariate": lambda seed: optunas.TPESampler(seed=seed, multivariate=False),
    "Optuna CmaEsSampler": lambda seed: optunas.CmaEsSampler(
        seed=seed, with_margin=True, warn_independent_sampling=False
    ),
    "Optuna GPSampler": lambda seed: optunas.GPSampler(seed=seed),
    SMAC: SMACSampler,
    "Optuna QMCSampler": lambda seed: optunas.QMCSampler(
        seed=seed, scramble=True, warn_independent_sampling=False
    ),
    "random": lambda seed: optunas.RandomSampler(seed=seed),
}
#: Name -> gp with one thing changed.
ABLATIONS: Mapping[str, MakeSampler] = {
    "gp, random start": lambda seed: GPSampler(seed=seed, design_seed=None),
    "gp, most likely kernel": lambda seed: GPSampler(seed=seed, draws=0),
    "gp, no gradient": lambda seed: GPSampler(seed=seed, climbers=0),
    "gp, more noise expected": lambda seed: GPSampler(seed=seed, noise_prior=(-2.0, 1.0)),
    "gp, less noise expected": lambda seed: GPSampler(seed=seed, noise_prior=(-6.0, 3.0)),
    "gp as it was": lambda seed: GPSampler(
        seed=seed, design_seed=None, draws=0, climbers=0, noise_prior=(-2.0, 1.0)
    ),
}


def installed() -> list[str]:
    """The samplers whose packages are there."""
    return [name for name in SAMPLERS if name != SMAC or find_spec("smac") is not None]
