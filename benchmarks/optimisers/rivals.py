"""The samplers of the contest, each through its public interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optuna import samplers as optunas
from optuna.samplers import BaseSampler

from search.samplers import GPSampler, TPESampler

#: Seed of a study -> its sampler.
MakeSampler = Callable[[int], BaseSampler]
#: Ours, and the one that the significance tests compare it with.
OURS, REFERENCE = "gp", "Optuna TPE"
#: Needs so much time for a proposal that it runs on a part of the problems only.
SLOW = ("Optuna GPSampler",)

SAMPLERS: Mapping[str, MakeSampler] = {
    OURS: lambda seed: GPSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    REFERENCE: lambda seed: optunas.TPESampler(seed=seed),
    "Optuna TPE, univariate": lambda seed: optunas.TPESampler(seed=seed, multivariate=False),
    "Optuna CmaEsSampler": lambda seed: optunas.CmaEsSampler(
        seed=seed, with_margin=True, warn_independent_sampling=False
    ),
    "Optuna GPSampler": lambda seed: optunas.GPSampler(seed=seed),
    "Optuna QMCSampler": lambda seed: optunas.QMCSampler(
        seed=seed, scramble=True, warn_independent_sampling=False
    ),
    "random": lambda seed: optunas.RandomSampler(seed=seed),
}
#: Name -> gp with one thing changed.
ABLATIONS: Mapping[str, MakeSampler] = {
    "gp, random start": lambda seed: GPSampler(seed=seed, design_seed=None),
    "gp, no gradient": lambda seed: GPSampler(seed=seed, climbers=0),
    "gp, more noise expected": lambda seed: GPSampler(seed=seed, noise_prior=(-2.0, 1.0)),
    "gp, less noise expected": lambda seed: GPSampler(seed=seed, noise_prior=(-6.0, 3.0)),
    "gp as it was": lambda seed: GPSampler(seed=seed, design_seed=None, climbers=0, noise_prior=(-2.0, 1.0)),
}
