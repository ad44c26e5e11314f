"""The acquisition function, log expected improvement, and the scale of scores that it is computed on."""

from __future__ import annotations

import math

import numpy as np

from search.samplers.encoding import Floats


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


def compress_low_scores(scores: Floats) -> tuple[Floats, Floats]:
    """Scores relative to their median, in units of the better half's spread; below the median log-compressed.

    So outliers among the bad trials do not dominate the length scales. Also the derivative of the compressed
    scores by the scores. [n] -> [n], [n]
    """
    from_median = scores - np.median(scores)
    better = from_median[from_median > 0]
    unit = float(np.sqrt(np.mean(better**2))) if len(better) else 1.0
    below = np.maximum(-from_median / unit, 0.0)
    compressed = np.where(from_median < 0, -np.log1p(below), from_median / unit)
    return compressed, 1 / (unit * (1 + below))
