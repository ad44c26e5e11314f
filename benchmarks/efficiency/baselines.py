"""The baseline methods, each as its users run it, and the search of run_search.py in the same form.

A method factory makes a method for a search space, a number of workers and a study seed.
"""

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
    PAUSE,
    STOP,
    Assignment,
    Method,
    RayMethod,
    our_method,
)
from rigsl.config import RIGSLConfig
from search.record.learning_curve import METRIC
from search.record.trial_report import TrialReport
from search.resources.memory_limit import epoch_seconds
from search.samplers.qmc import at_quantile
from search.space.distributions import distribution
from search.space.schedule import Schedule
from search.space.space import Space

#: (search space, number of workers, study seed) -> method.
MethodFactory = Callable[[Space, int, int], Method]


def ours(space: Space, workers: int, seed: int, **options: Any) -> Method:
    """The search of run_search.py, with `options` of `our_method`."""
    study = optuna.create_study(direction="maximize")
    return our_method(study, space, workers=workers, seed=seed, seconds=epoch_costs(), **options)


@cache
def epoch_costs() -> Callable[[RIGSLConfig], float]:
    """The estimate of an epoch's duration that a search on the table's corpus has."""
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
    """OptunaSearch with ASHA; grace period and reduction factor are those of the space."""
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
    """Optuna without Ray: a sampler, and a pruner that is asked after every epoch."""

    def __init__(self, space: Space, seed: int, sampler: BaseSampler, pruner: BasePruner) -> None:
        self.space, self.seed = space, seed
        # HyperbandPruner derives a trial's bracket from the study's name.
        self.study = optuna.create_study(
            study_name=f"study {seed}", direction="maximize", sampler=sampler, pruner=pruner
        )
        self.live: dict[str, optuna.Trial] = {}

    def suggest(self) -> Assignment | None:
        """The study's next trial."""
        trial = self.study.ask()
        name = f"{trial.number:05d}"
        self.live[name] = trial
        return Assignment(name, self.space.config(self.space.suggest(trial), self.seed).to_dict())

    def report(self, trial: str, report: TrialReport) -> str:
        """Report the score to Optuna, and stop the trial if the pruner says so."""
        live = self.live[trial]
        live.report(report.score, report.epoch)
        if report.done:
            self.study.tell(live, report.score)
        elif live.should_prune():
            self.study.tell(live, state=optuna.trial.TrialState.PRUNED)
        else:
            return CONTINUE
        del self.live[trial]
        return STOP

    def cut_off(self, reason: str) -> None:
        """Drop the trials that still run."""
        self.live.clear()


def optuna_hyperband(space: Space, workers: int, seed: int) -> Method:
    """TPE with HyperbandPruner: Optuna's counterpart of BOHB (Falkner et al., ICML 2018)."""
    pruner = HyperbandPruner(min_resource=1, max_resource=_epochs(space), reduction_factor=3)
    return OptunaMethod(space, seed, _tpe(seed, workers), pruner)


class DEHBMethod:
    """DEHB (Awad et al., IJCAI 2021) by its authors' library: differential evolution in Hyperband's brackets.

    DEHB proposes points of the unit cube, which are mapped to parameter values as the points of the Sobol
    sequence are. A promoted configuration is trained again from its first epoch, as in the library.
    """

    def __init__(self, space: Space, seed: int) -> None:
        from dehb import DEHB
        from loguru import logger

        self.space, self.seed = space, seed
        self.distributions = {name: distribution(parameter) for name, parameter in space.parameters.items()}
        with TemporaryDirectory() as folder:  # for the library's log file, which is not needed
            self.search = DEHB(
                dimensions=len(self.distributions), configspace=False, min_fidelity=1,
                max_fidelity=_epochs(space), eta=3, seed=seed, n_workers=1, save_freq="end",
                output_path=folder,
            )  # fmt: skip
            logger.remove()
        self.live: dict[str, dict[str, Any]] = {}
        self.started = 0

    def suggest(self) -> Assignment | None:
        """The next evaluation."""
        evaluation = self.search.ask()
        name = f"{self.started:05d}"
        self.started += 1
        self.live[name] = evaluation
        params: dict[str, Any] = {}
        coordinates = dict(zip(self.distributions, evaluation["config"], strict=True))
        for key, parameter in self.space.parameters.items():
            if parameter.active(params):
                params[key] = at_quantile(self.distributions[key], min(float(coordinates[key]), 1 - 1e-9))
        return Assignment(name, self.space.config(params, self.seed).to_dict())

    def report(self, trial: str, report: TrialReport) -> str:
        """Report the best score when the evaluation has had its epochs (its fidelity)."""
        evaluation = self.live[trial]
        if report.epoch < round(evaluation["fidelity"]) and not report.done:
            return CONTINUE
        self.search.tell(evaluation, {"fitness": -report.score, "cost": report.seconds})
        return STOP

    def cut_off(self, reason: str) -> None:
        """Drop the trials that still run."""
        self.live.clear()


def dehb(space: Space, workers: int, seed: int) -> Method:
    """DEHB with its default settings."""
    return DEHBMethod(space, seed)


class OneEpochThenBest:
    """Rounds of a two-stage screening: one epoch of each of n random configurations, then the best k in full.

    Args:
        space: the search space.
        seed: of the study.
        screened: n, configurations in the first stage of a round.
        promoted: k, configurations that are trained to the last epoch.
    """

    def __init__(self, space: Space, seed: int, screened: int = 20, promoted: int = 3) -> None:
        self.space, self.seed, self.screened, self.promoted = space, seed, screened, promoted
        self.study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        self.started = 0
        self.round: list[str] = []  #: trials of this round whose first epoch has ended
        self.first_scores: dict[str, float] = {}
        self.to_resume: list[str] = []  #: promoted trials, paused after their first epoch
        self.configs: dict[str, Mapping[str, Any]] = {}

    def suggest(self) -> Assignment | None:
        """A promoted trial or a new one; None while first epochs of a full round are still running."""
        if self.to_resume:
            name = self.to_resume.pop(0)
            return Assignment(name, self.configs[name])
        running = self.started - len(self.first_scores)
        if len(self.round) == self.screened and not running:
            self.to_resume = sorted(self.round, key=lambda name: -self.first_scores[name])[: self.promoted]
            self.round = []
            return self.suggest()
        if len(self.round) + running == self.screened:
            return None
        name = f"{self.started:05d}"
        self.started += 1
        params = self.space.suggest(self.study.ask())
        self.configs[name] = self.space.config(params, self.seed).to_dict()
        return Assignment(name, self.configs[name])

    def report(self, trial: str, report: TrialReport) -> str:
        """Pause after the first epoch."""
        if trial in self.first_scores:
            return STOP if report.done else CONTINUE
        self.first_scores[trial] = report.score
        self.round.append(trial)
        return PAUSE

    def cut_off(self, reason: str) -> None:
        """Nothing to do: this method keeps no record."""


def one_epoch_then_best(space: Space, workers: int, seed: int) -> Method:
    """`OneEpochThenBest` with its default numbers."""
    return OneEpochThenBest(space, seed)


def random(space: Space, workers: int, seed: int) -> Method:
    """Random search without early stopping."""
    return ours(_without_starts(space), workers, seed, sampler="random", schedule=Schedule("none"))


def quasi_random(space: Space, workers: int, seed: int) -> Method:
    """A scrambled Sobol sequence without early stopping."""
    return ours(_without_starts(space), workers, seed, sampler="qmc", schedule=Schedule("none"))


def _without_starts(space: Space) -> Space:
    return dataclasses.replace(space, starts=())


#: Name -> baseline; the names are those of the command line and of the tables.
BASELINES: Mapping[str, MethodFactory] = {
    "random": random,
    "quasi-random, twice the time": quasi_random,
    "OptunaSearch + ASHA (Ray)": ray_asha,
    "OptunaSearch + median (Ray)": ray_median,
    "TPE + Hyperband, as BOHB (Optuna)": optuna_hyperband,
    "DEHB": dehb,
    "one epoch for all, then the best": one_epoch_then_best,
}
