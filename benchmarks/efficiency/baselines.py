"""The methods that ours is compared with, as they are used: each decides for itself, in simulated time."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.samplers import BaseSampler, TPESampler
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.efficiency.curve_table import meld
from benchmarks.efficiency.simulator import (
    CONTINUE,
    STOP,
    Job,
    Method,
    RayMethod,
    our_method,
)
from rigsl.config import RIGSLConfig
from search.record.learning_curve import METRIC
from search.resources.memory_limit import epoch_seconds
from search.samplers.qmc import at
from search.space.distributions import distribution
from search.space.schedule import Schedule
from search.space.space import Space

#: Makes a method for a space, a number of workers and a study's seed.
Maker = Callable[[Space, int, int], Method]


def ours(space: Space, workers: int, seed: int, **options: Any) -> Method:
    """What run_search.py runs; `options` of `our_method`."""
    study = optuna.create_study(direction="maximize")
    return our_method(study, space, workers=workers, seed=seed, seconds=_epoch_seconds(), **options)


@cache
def _epoch_seconds() -> Callable[[RIGSLConfig], float]:
    return epoch_seconds(meld(), "cpu")


def _tpe(seed: int, workers: int) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=workers > 1)


def _epochs(space: Space) -> int:
    return space.config(space.starts[0] if space.starts else {}, 0).epochs


def ray_optuna(space: Space, workers: int, seed: int, scheduler: TrialScheduler) -> Method:
    """Ray's own OptunaSearch (TPE) with one of Ray's schedulers."""
    logging.getLogger("ray.tune.search.optuna.optuna_search").setLevel(logging.CRITICAL)
    sampler = _tpe(seed, workers)
    searcher = OptunaSearch(partial(_suggest, space), metric=METRIC, mode="max", sampler=sampler)
    return RayMethod(searcher, scheduler, lambda params: space.config(dict(params), seed).to_dict())


def _suggest(space: Space, trial: optuna.Trial) -> None:
    space.suggest(trial)


def ray_asha(space: Space, workers: int, seed: int) -> Method:
    """OptunaSearch with ASHA, grace and reduction as in the space."""
    schedule = space.schedule
    scheduler = ASHAScheduler(
        time_attr="epoch",
        metric=METRIC,
        mode="max",
        max_t=_epochs(space),
        grace_period=schedule.grace,
        reduction_factor=schedule.reduction,
    )
    return ray_optuna(space, workers, seed, scheduler)


def ray_median(space: Space, workers: int, seed: int) -> Method:
    """OptunaSearch with the median stopping rule (Golovin et al., 2017)."""
    scheduler = MedianStoppingRule(
        time_attr="epoch", metric=METRIC, mode="max", grace_period=space.schedule.grace
    )
    return ray_optuna(space, workers, seed, scheduler)


class OptunaMethod:
    """Optuna alone: a sampler and a pruner, told every epoch."""

    def __init__(self, space: Space, seed: int, sampler: BaseSampler, pruner: BasePruner) -> None:
        self.space, self.seed = space, seed
        # Hyperband draws a trial's bracket from the name.
        self.study = optuna.create_study(
            study_name=f"study {seed}", direction="maximize", sampler=sampler, pruner=pruner
        )
        self.live: dict[str, optuna.Trial] = {}

    def suggest(self) -> Job | None:
        """The study's next trial."""
        trial = self.study.ask()
        name = f"{trial.number:05d}"
        self.live[name] = trial
        return Job(name, self.space.config(self.space.suggest(trial), self.seed).to_dict())

    def report(self, trial: str, result: dict[str, Any]) -> str:
        """Report, and prune where the pruner says so."""
        one = self.live[trial]
        one.report(result[METRIC], result["epoch"])
        if result["done"]:
            self.study.tell(one, result[METRIC])
        elif one.should_prune():
            self.study.tell(one, state=optuna.trial.TrialState.PRUNED)
        else:
            return CONTINUE
        del self.live[trial]
        return STOP

    def cut_off(self, reason: str) -> None:
        """Those that still run are left."""
        self.live.clear()


def optuna_hyperband(space: Space, workers: int, seed: int) -> Method:
    """TPE with Optuna's Hyperband, which is how Optuna does BOHB (Falkner et al., ICML 2018)."""
    pruner = HyperbandPruner(min_resource=1, max_resource=_epochs(space), reduction_factor=3)
    return OptunaMethod(space, seed, _tpe(seed, workers), pruner)


class DEHBMethod:
    """DEHB (Awad et al., IJCAI 2021) by its authors' library: differential evolution in Hyperband's brackets.

    It lives in the unit cube, whose places are values of the parameters as those of a quasi-random sequence
    are. A configuration that it promotes is trained anew, as the library has it.
    """

    def __init__(self, space: Space, seed: int) -> None:
        from dehb import DEHB
        from loguru import logger

        self.space, self.seed = space, seed
        self.distributions = {name: distribution(found) for name, found in space.parameters.items()}
        with TemporaryDirectory() as folder:  # for a log that nobody reads
            self.search = DEHB(
                dimensions=len(self.distributions), configspace=False, min_fidelity=1,
                max_fidelity=_epochs(space), eta=3, seed=seed, n_workers=1, save_freq="end",
                output_path=folder,
            )  # fmt: skip
            logger.remove()
        self.live: dict[str, dict[str, Any]] = {}
        self.begun = 0

    def suggest(self) -> Job | None:
        """The next evaluation."""
        asked = self.search.ask()
        name = f"{self.begun:05d}"
        self.begun += 1
        self.live[name] = asked
        params: dict[str, Any] = {}
        shares = dict(zip(self.distributions, asked["config"], strict=True))
        for key, parameter in self.space.parameters.items():
            if parameter.active(params):
                params[key] = at(self.distributions[key], min(float(shares[key]), 1 - 1e-9))
        return Job(name, self.space.config(params, self.seed).to_dict())

    def report(self, trial: str, result: dict[str, Any]) -> str:
        """Tell the best score at the end of the evaluation's epochs."""
        asked = self.live[trial]
        if result["epoch"] < round(asked["fidelity"]) and not result["done"]:
            return CONTINUE
        self.search.tell(asked, {"fitness": -result[METRIC], "cost": result["seconds"]})
        return STOP

    def cut_off(self, reason: str) -> None:
        """Those that still run are left."""
        self.live.clear()


def dehb(space: Space, workers: int, seed: int) -> Method:
    """DEHB with its own settings."""
    return DEHBMethod(space, seed)


class OneEpochThenBest:
    """One epoch for `many` random configurations, then the best `few` to the end, and again."""

    def __init__(self, space: Space, seed: int, many: int = 20, few: int = 3) -> None:
        self.space, self.seed, self.many, self.few = space, seed, many, few
        self.study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        self.begun = 0
        self.round: list[str] = []  #: trials of this round that had their first epoch
        self.first: dict[str, float] = {}
        self.waiting: list[str] = []  #: the best, to go on
        self.configs: dict[str, Mapping[str, Any]] = {}

    def suggest(self) -> Job | None:
        """A trial to go on with, a new one, or nothing until the round's first epochs are done."""
        if self.waiting:
            name = self.waiting.pop(0)
            return Job(name, self.configs[name])
        under_way = self.begun - len(self.first)
        if len(self.round) == self.many and not under_way:
            self.waiting = sorted(self.round, key=lambda name: -self.first[name])[: self.few]
            self.round = []
            return self.suggest()
        if len(self.round) + under_way == self.many:
            return None
        name = f"{self.begun:05d}"
        self.begun += 1
        params = self.space.suggest(self.study.ask())
        self.configs[name] = self.space.config(params, self.seed).to_dict()
        return Job(name, self.configs[name])

    def report(self, trial: str, result: dict[str, Any]) -> str:
        """Pause after the first epoch."""
        if trial in self.first:
            return CONTINUE if not result["done"] else STOP
        self.first[trial] = result[METRIC]
        self.round.append(trial)
        return "PAUSE"

    def cut_off(self, reason: str) -> None:
        """Nothing is kept."""


def one_epoch_then_best(space: Space, workers: int, seed: int) -> Method:
    """One epoch for all, then the top k."""
    return OneEpochThenBest(space, seed)


def random(space: Space, workers: int, seed: int) -> Method:
    """Independent draws, every training to its end."""
    return ours(_without_starts(space), workers, seed, sampler="random", schedule=Schedule("none"))


def quasi_random(space: Space, workers: int, seed: int) -> Method:
    """A scrambled Sobol sequence, every training to its end."""
    return ours(_without_starts(space), workers, seed, sampler="qmc", schedule=Schedule("none"))


def _without_starts(space: Space) -> Space:
    return dataclasses.replace(space, starts=())


RIVALS: Mapping[str, Maker] = {
    "random": random,
    "quasi-random, twice the time": quasi_random,
    "OptunaSearch + ASHA (Ray)": ray_asha,
    "OptunaSearch + median (Ray)": ray_median,
    "TPE + Hyperband, as BOHB (Optuna)": optuna_hyperband,
    "DEHB": dehb,
    "one epoch for all, then the best": one_epoch_then_best,
}
