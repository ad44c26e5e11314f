"""Variance components of the finalists' scores, and the finalists' means, shrunken by their reliability.

score = block + finalist + residual: blocks are fixed, finalists are drawn from a normal distribution. A block
is a held-out fold; without folds there is one common mean. The share of the variance that lies between
finalists (intraclass correlation) has a uniform prior on a grid; its posterior is the restricted likelihood
(REML; Patterson & Thompson, Biometrika 1971), so that means are right, too, where few finalists leave it
uncertain. Given the share, means are best linear unbiased predictions (Henderson, Biometrics 1975): a
finalist's mean is drawn towards that of all finalists, which takes off the selection bias of the winner.
Finalists that were dropped for their scores do no harm: the likelihood has the scores that dropped them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Shares of the variance between finalists, at which the posterior is computed.
SHARES = np.linspace(0.0, 0.98, 50)


@dataclass(frozen=True, eq=False)
class VarianceFit:
    """The posterior of the finalists' true scores, averaged over the blocks (fractions)."""

    counts: tuple[int, ...]  #: scores of each finalist
    means: Floats  #: shrunken, in the order of the finalists [k]
    covariance: Floats  #: of the errors of `means`; exact for a known residual variance [k, k]
    weights: Floats  #: posterior of SHARES; a single finalist: all on 0
    between: float  #: variance between finalists
    residual: float  #: variance within a finalist and block: of the seed, and of how a finalist suits a fold
    blocks: Floats  #: deviations of the blocks from their mean; empty: there are none [b]
    freedom: int  #: degrees of freedom behind the variances

    @property
    def block_variance(self) -> float | None:
        """Variance between blocks, without the residual part; None: there are fewer than two."""
        if len(self.blocks) < 2:
            return None
        finalists = max(len(self.counts), 1)
        return max(float(np.var(self.blocks, ddof=1)) - self.residual / finalists, 0.0)

    def reliability(self, trainings: float) -> float:
        """Share of the variance of a finalist's mean that lies between finalists, with so many trainings."""
        return float(self.weights @ (SHARES / (SHARES + (1 - SHARES) / trainings)))

    @cached_property
    def inflation(self) -> float:
        """By how much variances grow because the residual variance is estimated: Student's t for a normal."""
        from scipy import stats  # only where it is used: a search starts fast

        return float((stats.t.ppf(0.975, self.freedom) / stats.norm.ppf(0.975)) ** 2)

    def regret(self, index: int, draws: int = 20_000) -> float:
        """How much better than finalist `index` the truly best one is expected to be."""
        spread = self.covariance * self.inflation
        rng = np.random.default_rng(0)
        drawn = rng.multivariate_normal(self.means, spread, size=draws, method="eigh")
        return float((drawn.max(axis=1) - drawn[:, index]).mean())


def fit_variances(scores: Sequence[Mapping[int, float]], blocked: bool) -> VarianceFit | None:
    """The posterior of the finalists' true scores; None: too few scores for a variance.

    Args:
        scores: of each finalist: block -> score; at least one each.
        blocked: whether blocks have an effect of their own, as folds have; with one finalist they cannot.
    """
    rows = [(i, block, score) for i, own in enumerate(scores) for block, score in own.items()]
    names = sorted({block for _, block, _ in rows})
    k, blocked = len(scores), blocked and len(scores) > 1
    y = np.array([score for _, _, score in rows])
    z = np.array([[float(i == finalist) for finalist in range(k)] for i, _, _ in rows])  # [N, k]
    x = np.ones((len(rows), 1))
    if blocked:
        x = np.array([[float(block == name) for name in names] for _, block, _ in rows])  # [N, b]
    freedom = len(rows) - x.shape[1]
    if not rows or freedom < 1:
        return None
    average = np.full(x.shape[1], 1 / x.shape[1])
    shares = SHARES if k > 1 else SHARES[:1]
    parts = [_given(share, y, x, z, average) for share in shares]
    log_weights = np.array([part.log_likelihood for part in parts])
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    means = np.tensordot(weights, [part.means for part in parts], axes=1)
    errors = [part.covariance + np.outer(part.means - means, part.means - means) for part in parts]
    totals = np.array([part.variance for part in parts])
    effects = np.tensordot(weights, [part.fixed for part in parts], axes=1)
    return VarianceFit(
        counts=tuple(len(own) for own in scores),
        means=means,
        covariance=np.tensordot(weights, errors, axes=1),
        weights=np.pad(weights, (0, len(SHARES) - len(weights))),
        between=float(weights @ (totals * shares)),
        residual=float(weights @ (totals * (1 - shares))),
        blocks=effects - effects.mean() if blocked else np.empty(0),
        freedom=freedom,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """The fit for a known share of the variance between finalists."""

    log_likelihood: float
    variance: float  #: in all, of a score
    fixed: Floats  #: block effects, or the common mean
    means: Floats
    covariance: Floats


def _given(share: float, y: Floats, x: Floats, z: Floats, average: Floats) -> _Part:
    counts, alone = z.sum(axis=0), 1 - share  # [k]
    together = alone + share * counts
    inverse = (np.eye(len(y)) - (z * (share / together)) @ z.T) / alone  # of the covariance [N, N]
    information = x.T @ inverse @ x
    variances = np.linalg.inv(information)
    fixed = variances @ (x.T @ inverse @ y)
    rest = y - x @ fixed
    squares, freedom = max(float(rest @ inverse @ rest), 1e-18), len(y) - x.shape[1]
    variance = squares / freedom
    to_finalists = share * z.T @ inverse  # [k, N]
    weights = average - to_finalists @ x  # [k, p]: of the errors of the fixed effects
    errors = weights @ variances @ weights.T + share * np.eye(z.shape[1]) - share * to_finalists @ z
    determinants = np.linalg.slogdet(information)[1] + np.log(together).sum()
    determinants += (len(y) - len(counts)) * np.log(alone)
    return _Part(
        log_likelihood=float(-determinants / 2 - freedom / 2 * np.log(squares)),
        variance=variance,
        fixed=fixed,
        means=average @ fixed + to_finalists @ rest,
        covariance=variance * errors,
    )
