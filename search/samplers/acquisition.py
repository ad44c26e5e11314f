"""The acquisition function, log expected improvement, and the scale of scores that it is computed on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.samplers.encoding import Floats
from search.samplers.gp import GaussianProcess
from search.samplers.priors import PriorDensity


@dataclass(frozen=True)
class Acquisition:
    """Log expected improvement minus the logarithm of the cost, plus that of the priors' density.

    The improvement is the mean over several surrogates, which differ in their kernel hyperparameters: what
    the data do not tell of those counts as uncertainty (Snoek et al., NeurIPS 2012, section 3.2). The priors
    are those of piBO (Hvarfner et al., ICLR 2022, eq. 6).
    """

    surrogates: Sequence[GaussianProcess]
    incumbents: Sequence[float]  #: for each surrogate, the score over which it counts the improvement
    log_cost: GaussianProcess | None = None  #: None: cost does not count
    cost_weight: float = 0.0
    priors: PriorDensity | None = None  #: None: nothing is believed

    def __call__(self, candidates: Floats) -> Floats:
        """The acquisition of each candidate. [n, columns] -> [n]"""
        logs = [
            log_expected_improvement(*surrogate.predict(candidates), incumbent)
            for surrogate, incumbent in zip(self.surrogates, self.incumbents, strict=True)
        ]
        values = _log_mean(np.stack(logs))
        if self.log_cost is not None:
            values = values - self.cost_weight * self.log_cost.mean(candidates)
        if self.priors is not None:
            values = values + self.priors.log(candidates)
        return values

    def with_gradient(self, candidate: Floats) -> tuple[float, Floats]:
        """The acquisition of one candidate and its gradient. [columns] -> [columns]"""
        logs, gradients = [], []
        for surrogate, incumbent in zip(self.surrogates, self.incumbents, strict=True):
            mean, deviation, *slopes = surrogate.predict_with_gradients(candidate[None])
            logs.append(log_expected_improvement(mean, deviation, incumbent))
            by_mean, by_deviation = improvement_slopes(mean, deviation, incumbent, logs[-1])
            gradients.append(by_mean * slopes[0][0] + by_deviation * slopes[1][0])
        by_surrogate = np.stack(logs)
        value = _log_mean(by_surrogate)
        shares = np.exp(by_surrogate - value) / len(logs)  # of the surrogates in the mean
        gradient = (shares * np.stack(gradients)).sum(axis=0)
        if self.log_cost is not None:
            cost, _, cost_gradient, _ = self.log_cost.predict_with_gradients(candidate[None])
            value = value - self.cost_weight * cost
            gradient = gradient - self.cost_weight * cost_gradient[0]
        if self.priors is not None:
            value = value + self.priors.log(candidate[None])
            gradient = gradient + self.priors.log_gradient(candidate)
        return float(value[0]), np.asarray(gradient)


def _log_mean(logs: Floats) -> Floats:
    """The logarithm of the mean over the rows of what `logs` are the logarithms of. [k, n] -> [n]"""
    highest = logs.max(axis=0)
    return np.asarray(highest + np.log(np.exp(logs - highest).mean(axis=0)))


def log_expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """The logarithm of the expected improvement over `best`, accurate also far below it. [n], [n] -> [n]

    Source: Ament et al., Unexpected Improvements to Expected Improvement, NeurIPS 2023, eq. 9.
    """
    from scipy.special import erfcx, ndtr

    z = (mean - best) / deviation
    near, far = np.maximum(z, -1.0), np.minimum(z, -1.0)
    density = np.exp(-(near**2) / 2) / math.sqrt(2 * math.pi)
    # z Phi(z) / phi(z) = -|z| sqrt(pi/2) erfcx(|z| / sqrt 2), which tends to -1 and is rounded near it.
    ratio = np.minimum(-far * math.sqrt(math.pi / 2) * erfcx(-far / math.sqrt(2)), 1 - 1e-15)
    log_far = -(far**2) / 2 - math.log(2 * math.pi) / 2 + np.log1p(-ratio)
    log_standardised = np.where(z > -1.0, np.log(density + near * ndtr(near)), log_far)
    return np.asarray(log_standardised + np.log(deviation))


def improvement_slopes(
    mean: Floats, deviation: Floats, best: float, log_improvement: Floats
) -> tuple[Floats, Floats]:
    """The derivatives of `log_improvement`, by mean and by deviation. [n] each -> [n], [n]"""
    from scipy.special import log_ndtr

    z = (mean - best) / deviation
    by_z = np.exp(log_ndtr(z) - (log_improvement - np.log(deviation)))
    return by_z / deviation, (1 - z * by_z) / deviation


def compress_low_scores(scores: Floats) -> tuple[Floats, Floats]:
    """Scores relative to their median, in units of the better half's spread; below the median log-compressed.

    So outliers among the bad trials do not dominate the length scales. Also the derivative of the compressed
    scores by the scores. An infinite score, such as of a failure, counts as the nearest finite one.
    [n] -> [n], [n]
    """
    finite = scores[np.isfinite(scores)]
    scores = np.clip(scores, finite.min(), finite.max()) if len(finite) else np.zeros_like(scores)
    from_median = scores - np.median(scores)
    better = from_median[from_median > 0]
    unit = float(np.sqrt(np.mean(better**2))) if len(better) else 1.0
    below = np.maximum(-from_median / unit, 0.0)
    compressed = np.where(from_median < 0, -np.log1p(below), from_median / unit)
    return compressed, 1 / (unit * (1 + below))
