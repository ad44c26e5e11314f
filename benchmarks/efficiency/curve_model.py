"""The model of learning curves: a Gaussian process over configuration and progress of training.

A score y is seen as z = -log(c - y), where c lies a little above the best score of the study: on this scale a
curve that approaches its limit exponentially rises evenly, and differences among the best count most. Then

    z_i(s) = limit + a_i - sum_k (w_k . x_i + o_ik) exp(-r_k s) + noise

for trial i with encoded configuration x_i after progress s (progress.py): a limit of its
own, less terms that decay at the rates r_k. The weights w_k are shared by all trials: from the curves
that went on, the model learns how much configurations of a kind have yet to gain. What a trial differs by
is in a_i and o_ik. All of them are normally distributed, so z is a Gaussian process, whose kernel is
linear in x and a mixture of decaying exponentials in s, as in freeze-thaw optimisation (Swersky et al.,
2014). The scale of its variances has a conjugate prior (inverse gamma), and its time scale is that of a
grid with the highest posterior density.

The prediction is exact. It takes a time that grows linearly with the number of trials, because only the
shared weights connect them (Rasmussen & Williams, section 2.7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.samplers.imputed_scores import PredictedScore

Floats = NDArray[np.float64]

#: Decay rates of the terms, for a progress of 1 after a typical whole training.
RATES = np.array([0.5, 2.0, 6.0, 18.0])
#: Prior mean of each term's shared weight, in units of the spread of all z.
GAIN = 0.55
#: Prior standard deviations in the same units: of the shared limit and of a trial's own; of a trial's own
#: terms, of an epoch's noise, of the shared weights, and of their change with the configuration, all columns
#: of which have the same share in it.
SHARED_LIMIT, OWN_LIMIT, OWN_TERM, NOISE, SHARED_TERM, BY_CONFIGURATION = 1.0, 0.4, 0.5, 0.075, 0.6, 2.0
#: The time scales of the grid, and the prior deviation of their logarithm.
TIME_SCALES, TIME_SCALE_DEVIATION = (0.6, 1.0, 1.7), 0.5
#: The prior of the variance scale counts as so many observations of scale 1.
SCALE_COUNT = 10.0
#: Predictions err by more than this model says, as curves are not quite of its form: the factor of a
#: variance, measured on held-out curves of MELD-open 1.
VARIANCE_FACTOR = 2.0
#: The ceiling lies above the best score by so many times the spread of the better half of the best scores.
CEILING = 2.0
#: Scores of a trial that the model sees, at most.
MAX_SCORES = 6
#: The variance of a place in the arrays that no score fills.
ABSENT = 1e8
#: Points of the predicted distribution at which it is taken back to the scale of scores.
QUANTILES = (np.arange(64) + 0.5) / 64


class LearningCurve(NamedTuple):
    """The best scores so far of one trial, and where its training ends."""

    inputs: Floats  #: its encoded configuration. [columns]
    progress: Floats  #: of the training at each score, rising. [m]
    scores: Floats  #: never falling. [m]
    end: float  #: the progress after the last epoch


class _Fit(NamedTuple):
    """The posterior at one time scale."""

    log_density: float  #: of the time scale, up to a constant
    variance_scale: float
    mean: Floats  #: of the shared weights. [p]
    covariance: Floats  #: the same, without the variance scale. [p, p]
    features: Floats  #: of every score, and last of the end. [n, m + 1, p]
    own: Floats  #: covariances of a trial's own part and the noise. [n, m + 1, m + 1]


def predict_ends(curves: Sequence[LearningCurve]) -> list[PredictedScore]:
    """The score of each trial at the end of its training, given the curves of all: [n].

    No end lies below the best score so far. The time scale, the variances and the weights are learned from
    the same curves.
    """
    best = np.array([curve.scores.max() for curve in curves])
    scale = _Scale(best)
    progress, targets, present = _arrays([_thinned(curve) for curve in curves], scale)
    centre = float(np.median([row[mask][-1] for row, mask in zip(targets, present, strict=True)]))
    unit = float(targets[present].std()) or 1.0
    targets = np.where(present, (targets - centre) / unit, 0.0)
    columns = np.stack([curve.inputs for curve in curves]) - 0.5
    columns = np.concatenate([np.ones((len(curves), 1)), columns], axis=1)
    typical = float(np.median(progress[:, -1])) or 1.0
    fits = [_fit(progress / (typical * time), time, columns, targets, present) for time in TIME_SCALES]
    mean, deviation = _end(max(fits, key=lambda fit: fit.log_density), targets)
    return scale.back(centre + unit * mean, unit * deviation, best)


class _Scale:
    """z = -log(ceiling - score)."""

    def __init__(self, best: Floats) -> None:
        above = best[best >= np.median(best)] - np.median(best)
        spread = float(np.sqrt(np.mean(above**2)))
        self._ceiling = float(best.max()) + max(CEILING * spread, 0.01 * abs(float(best.max())), 1e-6)

    def forth(self, scores: Floats) -> Floats:
        return np.asarray(-np.log(self._ceiling - scores))

    def back(self, mean: Floats, deviation: Floats, best: Floats) -> list[PredictedScore]:
        """Mean and variance of the score, where z is normally distributed above that of `best`. [n] each."""
        from scipy.special import ndtr, ndtri

        below = np.minimum(ndtr((self.forth(best) - mean) / deviation), 1 - 1e-9)
        shares = below[:, None] + (1 - below[:, None]) * QUANTILES
        z = np.maximum(mean[:, None] + deviation[:, None] * ndtri(shares), self.forth(best)[:, None])
        scores = self._ceiling - np.exp(-z)
        pairs = zip(scores.mean(axis=1).tolist(), scores.var(axis=1).tolist(), strict=True)
        return [PredictedScore(mean, variance) for mean, variance in pairs]


def _thinned(curve: LearningCurve) -> LearningCurve:
    """At most MAX_SCORES of the scores: the last one, and others evenly on a logarithmic scale."""
    count = len(curve.scores)
    if count <= MAX_SCORES:
        return curve
    kept = np.unique(np.round(np.geomspace(1, count, MAX_SCORES)).astype(int)) - 1
    return curve._replace(progress=curve.progress[kept], scores=curve.scores[kept])


def _arrays(curves: Sequence[LearningCurve], scale: _Scale) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Progress at every score and at the end, [n, m + 1]; z and whether there is one, [n, m]."""
    size = max(len(curve.scores) for curve in curves)
    progress, targets = np.zeros((len(curves), size + 1)), np.zeros((len(curves), size))
    present = np.arange(size) < np.array([len(curve.scores) for curve in curves])[:, None]
    for row, curve in enumerate(curves):
        progress[row, : len(curve.scores)], progress[row, -1] = curve.progress, curve.end
        targets[row, : len(curve.scores)] = scale.forth(curve.scores)
    return progress, targets, present


def _fit(progress: Floats, time: float, columns: Floats, targets: Floats, present: NDArray[np.bool_]) -> _Fit:
    """The posterior of the shared weights, at the time scale `time` that `progress` is divided by."""
    decay = np.exp(-progress[:, :, None] * RATES)  # [n, m + 1, terms]
    count, size = progress.shape
    terms = -(decay[:, :, :, None] * columns[:, None, None, :]).reshape(count, size, -1)
    features = np.concatenate([terms, np.ones((count, size, 1))], axis=2)
    noise = np.concatenate([np.where(present, NOISE**2, ABSENT), np.zeros((count, 1))], axis=1)
    own = OWN_LIMIT**2 + OWN_TERM**2 * decay @ decay.transpose(0, 2, 1) + noise[:, :, None] * np.eye(size)
    mean, precision = _prior(columns.shape[1])
    lower = np.linalg.cholesky(own[:, :-1, :-1])
    residuals = targets - features[:, :-1] @ mean
    residuals[~present] = 0.0
    features[:, :-1][~present] = 0.0
    whitened = np.linalg.solve(lower, np.concatenate([features[:, :-1], residuals[:, :, None]], axis=2))
    whitened = whitened.reshape(-1, whitened.shape[2])
    gram = whitened.T @ whitened
    posterior = gram[:-1, :-1] + np.diag(precision)
    factor = np.linalg.cholesky(posterior)
    projected = np.linalg.solve(factor, gram[:-1, -1])
    square = float(gram[-1, -1] - projected @ projected)
    observed = int(present.sum())
    log_determinant = 2 * float(
        np.log(np.diagonal(lower, axis1=1, axis2=2)).sum() + np.log(np.diag(factor)).sum()
    )
    log_density = -log_determinant / 2 - (SCALE_COUNT + observed) / 2 * math.log(SCALE_COUNT + square)
    log_density -= (math.log(time) / TIME_SCALE_DEVIATION) ** 2 / 2
    covariance = np.linalg.inv(posterior)
    return _Fit(
        log_density,
        (SCALE_COUNT + square) / (SCALE_COUNT + observed),
        mean + covariance @ gram[:-1, -1],
        covariance,
        features,
        own,
    )


def _prior(columns: int) -> tuple[Floats, Floats]:
    """Mean and precision of the shared weights. [p], [p]"""
    by_column = BY_CONFIGURATION / math.sqrt(max(columns - 1, 1))
    mean, deviation = np.zeros((len(RATES), columns)), np.full((len(RATES), columns), by_column)
    mean[:, 0], deviation[:, 0] = GAIN, SHARED_TERM
    return np.append(mean, 0.0), np.append(deviation, SHARED_LIMIT) ** -2.0


def _end(fit: _Fit, targets: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of every trial's z at the end, given all scores. [n], [n]"""
    cross = fit.own[:, :-1, -1]
    gain = np.linalg.solve(fit.own[:, :-1, :-1], cross[:, :, None])[:, :, 0]  # [n, m]
    sensitivity = fit.features[:, -1] - np.einsum("nm,nmp->np", gain, fit.features[:, :-1])  # to the weights
    mean = np.einsum("nm,nm->n", gain, targets) + sensitivity @ fit.mean
    variance = fit.own[:, -1, -1] - np.einsum("nm,nm->n", gain, cross)
    variance = variance + np.einsum("np,pq,nq->n", sensitivity, fit.covariance, sensitivity)
    return mean, np.sqrt(np.maximum(VARIANCE_FACTOR * fit.variance_scale * variance, 1e-12))
