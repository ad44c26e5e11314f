"""Ours with another early stopping: by predicted ends, and with trials that are paused in place of stopped.

Freeze-thaw (Swersky et al., 2014) with the sampler of run_search.py:

- a rung compares where trials are predicted to end (`curve_model`), not their scores so far. A trial goes on
  if it is among the best one in `reduction`, or if it may well end as the best of all;
- a trial that does not go on is paused. Whenever a worker is free, the paused trials compete with a new
  proposal for it: by the improvement that is expected of their end, for each second until their next rung.

Each of the two can be switched off: stopping by predicted ends alone, and ASHA as it is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from benchmarks.efficiency.baselines import MethodFactory, epoch_costs
from benchmarks.efficiency.curve_model import LearningCurve, predict_ends
from benchmarks.efficiency.curve_table import meld
from benchmarks.efficiency.progress import Pace
from benchmarks.efficiency.simulator import CONTINUE, PAUSE, STOP, Assignment
from rigsl.config import RIGSLConfig
from search.record import record
from search.record.trial_report import TrialReport
from search.samplers.acquisition import compress_low_scores, log_expected_improvement
from search.samplers.encoding import Encoder
from search.samplers.factory import trial_seed
from search.samplers.gp_sampler import MAX_TRIALS, GaussianProcessSampler
from search.samplers.grouped import Group, GroupedSampler
from search.samplers.imputed_scores import ImputedScores, PredictedScore, with_imputed_scores
from search.samplers.parameter_groups import conditions, distributions
from search.space.space import Space

#: A trial goes on if its chance to end as the best of all is not below this.
REAL_CHANCE = 0.1
#: After so many proposals in a row that were tried before, the space is exhausted.
REPEATS = 100
#: States of trials that the sampler has proposed.
_STARTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
#: Curves of complete trials that a prediction learns from, at most: the latest ones.
MAX_COMPLETE = 100


class Forecast(NamedTuple):
    """What the sampler expects of its proposal's score after a whole training."""

    score: float
    variance: float  #: of the function, and of a training's noise
    incumbent: float  #: the score to improve on


class ForecastingSampler(GaussianProcessSampler):
    """The gp sampler, which also says what it expects of its proposal."""

    forecast: Forecast | None = None

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A proposal; the first ones, of the Sobol sequence, come without a forecast."""
        params = super().sample_relative(study, trial, search_space)
        if self.acquisition is not None:
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            scores = np.array([other.values[0] for other in complete])
            # The surrogate is one of scores around their median, in units of the better half's spread.
            median, unit = float(np.median(scores)), 1 / float(compress_low_scores(scores)[1].max())
            inputs = Encoder(search_space, self._conditions).encode([params])
            surrogates = self.acquisition.surrogates
            means, deviations = np.array([each.predict(inputs) for each in surrogates])[..., 0].T
            noise = np.array([each.noise_variance for each in surrogates])
            self.forecast = Forecast(
                median + unit * float(means.mean()),
                unit**2 * float(means.var() + (deviations**2 + noise).mean()),
                median + unit * float(np.mean(self.acquisition.incumbents)),
            )
        return params


@dataclass
class _Trial:
    """A trial that has begun."""

    trial: optuna.Trial
    config: RIGSLConfig
    scores: list[float] = field(default_factory=list)  #: best so far after every epoch

    @property
    def name(self) -> str:
        return f"{self.trial.number:05d}"


class FreezeThaw:
    """The method.

    Args:
        space: the search space; its scheduler says the rungs.
        seed: of the study.
        seconds: expected duration of an epoch of a configuration.
        examples: that a training learns from, for its steps in an epoch.
        predicted: rungs compare predicted ends; False: the best scores so far, as ASHA does.
        thaw: trials are paused; False: they are stopped for good.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        seconds: Callable[[RIGSLConfig], float],
        examples: int,
        *,
        predicted: bool = True,
        thaw: bool = True,
    ) -> None:
        self.space, self.seed, self.seconds, self.examples = space, seed, seconds, examples
        self.predicted, self.thaw = predicted, thaw
        self.study = optuna.create_study(direction="maximize")
        space.enqueue_starts(self.study)
        self.epochs = space.config(space.starts[0] if space.starts else {}, seed).epochs
        self.rungs = _rungs(space, self.epochs)
        self.at_rung: dict[int, dict[int, float]] = {epoch: {} for epoch in self.rungs}
        self.begun: dict[int, _Trial] = {}
        self.paused: set[int] = set()
        self.known: set[str] = set()
        self.encoder = Encoder(distributions(space), conditions(space))
        self._ends: dict[int, PredictedScore] | None = None

    def suggest(self) -> Assignment | None:
        """A new trial, or a paused one that promises more."""
        for _ in range(REPEATS):
            trial, config, forecast = self._ask()
            if forecast and (number := self._best_paused(forecast, config)) is not None:
                self.study.tell(trial, state=TrialState.FAIL)
                self.paused.remove(number)
                return Assignment(self.begun[number].name, self.begun[number].config.to_dict())
            if (digest := config.content_hash()) not in self.known:
                self.known.add(digest)
                self.begun[trial.number] = _Trial(trial, config)
                return Assignment(self.begun[trial.number].name, config.to_dict())
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def report(self, trial: str, report: TrialReport) -> str:
        """Write the epoch to the study; at a rung, decide."""
        number, self._ends = int(trial), None
        begun = self.begun[number]
        if report.failure:
            begun.trial.set_user_attr(record.REASON, report.failure)
            self.study.tell(begun.trial, state=TrialState.FAIL)
            return STOP
        begun.scores.append(report.score)
        begun.trial.report(report.score, report.epoch)
        if report.done:
            self.study.tell(begun.trial, report.score)
            return STOP
        if report.epoch not in self.rungs or self._goes_on(number, report.epoch):
            return CONTINUE
        if self.thaw:
            self.paused.add(number)
            return PAUSE
        self.study.tell(begun.trial, state=TrialState.PRUNED)
        return STOP

    def cut_off(self, reason: str) -> None:
        """Nothing to do: the study ends with this process."""

    def _ask(self) -> tuple[optuna.Trial, RIGSLConfig, Forecast | None]:
        """The sampler's next proposal; a start point comes without a forecast."""
        number = len(self.study.get_trials(deepcopy=False, states=_STARTED))
        own_seed = trial_seed(self.seed, number)
        sampler = ForecastingSampler(own_seed, design_seed=self.seed, conditions=conditions(self.space))
        self.study.sampler = GroupedSampler(
            [Group(distributions(self.space), lambda study: sampler)], own_seed, MAX_TRIALS, self._view
        )
        trial = self.study.ask()
        config = self.space.config(self.space.suggest(trial), self.seed)
        trial.set_user_attr(record.ESTIMATE, self.seconds(config))
        return trial, config, None if trial.number < len(self.space.starts) else sampler.forecast

    def _view(self, study: optuna.Study, max_trials: int) -> ImputedScores:
        """The study with paused trials as pruned ones, whose scores are extrapolated."""
        trials = study.get_trials(deepcopy=False)
        for index, trial in enumerate(trials):
            if trial.number in self.paused:
                trials[index] = copy.copy(trial)
                trials[index].state = TrialState.PRUNED
        return with_imputed_scores(ImputedScores(study, trials), max_trials)

    def _best_paused(self, forecast: Forecast, config: RIGSLConfig) -> int | None:
        """The paused trial that promises more a second than the proposal; None: none does."""
        if not self.paused:
            return None
        gains = {
            number: self._gain(self.ends[number], forecast.incumbent, self.begun[number].config, number)
            for number in self.paused
        }
        best = max(gains, key=lambda number: gains[number])
        new = PredictedScore(forecast.score, forecast.variance)
        return best if gains[best] > self._gain(new, forecast.incumbent, config, None) else None

    def _gain(self, end: PredictedScore, incumbent: float, config: RIGSLConfig, number: int | None) -> float:
        """The logarithm of the improvement that is expected for each second until the next decision."""
        epoch = 0 if number is None else len(self.begun[number].scores)
        left = min(rung for rung in (*self.rungs, self.epochs) if rung > epoch) - epoch
        deviation = np.array([math.sqrt(max(end.variance, 1e-12))])
        gain = log_expected_improvement(np.array([end.score]), deviation, incumbent)
        return float(gain[0]) - math.log(left * self.seconds(config))

    def _goes_on(self, number: int, epoch: int) -> bool:
        """Whether a trial is promoted at the rung after `epoch`."""
        reached, score = self.at_rung[epoch], self.begun[number].scores[-1]
        others = [other for other in reached if other != number]
        reached[number] = score
        if not others:
            return True
        share = 1 - 1 / self.space.schedule.reduction
        if not self.predicted:
            return score >= float(np.quantile([reached[other] for other in others], share))
        own, rivals = self.ends[number], [self.ends[other].score for other in others]
        if own.score >= float(np.quantile(rivals, share)):
            return True
        best = max(end.score for other, end in self.ends.items() if other != number)
        return chance(own, best) >= REAL_CHANCE

    @property
    def ends(self) -> Mapping[int, PredictedScore]:
        """The end of every trial with an epoch: measured or predicted."""
        if self._ends is None:
            self._ends = self._predict()
        return self._ends

    def _predict(self) -> dict[int, PredictedScore]:
        scored = [one for one in self.begun.values() if one.scores]
        complete = [one for one in scored if len(one.scores) == self.epochs]
        ends = {one.trial.number: PredictedScore(one.scores[-1]) for one in complete}
        others = [one for one in scored if one.trial.number not in ends]
        if others:
            curves = [self._curve(one) for one in (*others, *complete[-MAX_COMPLETE:])]
            predicted = predict_ends(curves)[: len(others)]
            ends |= {one.trial.number: end for one, end in zip(others, predicted, strict=True)}
        return ends

    def _curve(self, one: _Trial) -> LearningCurve:
        inputs = self.encoder.encode([one.trial.params])[0]
        epochs = [*range(1, len(one.scores) + 1), self.epochs]
        progress = Pace.of(one.config, self.examples).progress(epochs)
        return LearningCurve(inputs, progress[:-1], np.array(one.scores), float(progress[-1]))


def freeze_thaw(space: Space, workers: int, seed: int, **options: bool) -> FreezeThaw:
    """The method on the table of RIGSL's curves, with `options` of `FreezeThaw`."""
    return FreezeThaw(space, seed, epoch_costs(), len(meld().dialogues("train")), **options)


#: Name -> method; the names are those of the command line and of the tables.
FREEZE_THAW: Mapping[str, MethodFactory] = {
    "rungs compare predicted ends": partial(freeze_thaw, thaw=False),
    "stopped trials are paused": freeze_thaw,
}


def _rungs(space: Space, epochs: int) -> list[int]:
    """The epochs after which trials are compared, the first one first."""
    epoch, rungs = space.schedule.grace, []
    while epoch < epochs:
        rungs.append(epoch)
        epoch *= space.schedule.reduction
    return rungs


def chance(end: PredictedScore, best: float) -> float:
    """The probability that a trial ends above `best`."""
    from scipy.special import ndtr

    return float(ndtr((end.score - best) / math.sqrt(max(end.variance, 1e-12))))
