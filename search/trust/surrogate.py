"""How well a surrogate model of the search predicts trials that it has not seen: the leave-one-out fit.

The model is the Gaussian process of the sampler gp, whatever sampler the study has: it says whether scores
follow from hyperparameters at all, or are noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import threadpoolctl
from optuna.trial import TrialState

from search.record import record
from search.samplers.acquisition import compress_low_scores
from search.samplers.encoding import Encoder, Floats
from search.samplers.gp import GaussianProcess, fit_hyperparameters
from search.samplers.imputed_scores import SCORE_VARIANCE, with_imputed_scores
from search.samplers.parameter_groups import conditions, distributions
from search.space.space import Space

#: Trials with a score, below which nothing is said.
MIN_TRIALS = 20
#: Trials that the model sees.
MAX_TRIALS = 250
#: Random configurations, and neighbours of each of the best trials, among which the best mean is sought.
RANDOM, BEST, NEIGHBOURS, DISTANCE = 2000, 5, 100, 0.1


@dataclass(frozen=True)
class SurrogateFit:
    """What the leave-one-out predictions are worth."""

    trials: int
    correlation: float  #: Spearman's, of predictions and scores
    better_half: float  #: the same among the better half of the trials
    #: how much the best mean that the model predicts anywhere is above that of the best trials (fraction)
    gain: float


def surrogate_fit(study: optuna.Study, space: Space) -> SurrogateFit | None:
    """The fit on the scored trials; None: there are fewer than MIN_TRIALS, or all have the same score."""
    fitted = _fitted(study, space)
    if fitted is None:
        return None
    with threadpoolctl.threadpool_limits(limits=1):
        predicted, gain = fitted.process.leave_one_out(), _gain(fitted)
    scores = fitted.scores
    better = scores >= np.median(scores)
    return SurrogateFit(
        trials=len(scores),
        correlation=_spearman(predicted, scores),
        better_half=_spearman(predicted[better], scores[better]),
        gain=gain * fitted.unit,
    )


def predictor(study: optuna.Study, space: Space) -> Callable[[Sequence[Mapping[str, Any]]], Sequence[float]]:
    """Configurations -> predicted scores, in units of their own; all equal where there are few trials."""
    fitted = _fitted(study, space)
    if fitted is None:
        return lambda configurations: [0.0] * len(configurations)
    return lambda configurations: fitted.process.mean(fitted.encoder.encode(configurations)).tolist()


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The process of the scored trials."""

    process: GaussianProcess
    encoder: Encoder
    inputs: Floats
    targets: Floats
    scores: Floats
    unit: float  #: scores above the median are `targets` times this


def _fitted(study: optuna.Study, space: Space) -> _Fitted | None:
    """None: there are fewer than MIN_TRIALS, or all have the same score."""
    seen = with_imputed_scores(study, MAX_TRIALS).get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    scored = {trial.number for trial in record.scored(study)}
    trials = [trial for trial in seen if trial.number in scored]
    scores = np.array([trial.values[0] for trial in trials])
    varied = distributions(space)
    if len(trials) < MIN_TRIALS or not varied or np.ptp(scores) == 0:
        return None
    targets, slopes = compress_low_scores(scores)
    variances = slopes**2 * [trial.user_attrs.get(SCORE_VARIANCE, 0.0) for trial in trials]
    encoder = Encoder(varied, conditions(space))
    inputs = encoder.encode([trial.params for trial in trials])
    with threadpoolctl.threadpool_limits(limits=1):
        kernel = fit_hyperparameters(inputs, targets, variances, encoder.column_parameter)
        process = GaussianProcess(inputs, targets, variances, encoder.column_parameter, kernel)
    return _Fitted(process, encoder, inputs, targets, scores, 1 / float(slopes.max()))


def _gain(fitted: _Fitted) -> float:
    """The best mean among many candidates, less that of the best trial; in units of the targets."""
    rng, encoder, process = np.random.default_rng(0), fitted.encoder, fitted.process
    best = fitted.inputs[np.argsort(-fitted.targets)[:BEST]]
    candidates = np.concatenate(
        [encoder.sample(rng, RANDOM), encoder.neighbours(rng, best, NEIGHBOURS, DISTANCE)]
    )
    return max(0.0, float(process.mean(candidates).max() - process.mean(fitted.inputs).max()))


def _spearman(left: Floats, right: Floats) -> float:
    """Spearman's rank correlation; 0 where one side is constant."""
    from scipy import stats  # only where it is used: a search starts fast

    if len(left) < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(stats.spearmanr(left, right).statistic)
