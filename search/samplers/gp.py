"""Gaussian processes over places (Rasmussen & Williams, 2006), as a search needs them: small and quick.

Matern 5/2 with a length for every parameter. The logarithms of the lengths, of the scale and of the noise are
those of the highest posterior density. Lengths are expected to grow with the root of the number of parameters
(Hvarfner et al., ICML 2024): the more there are, the fewer matter.
"""

from __future__ import annotations

import math

import numpy as np

from search.samplers.encoding import Floats, Indices

#: Mean and deviation of the normal priors of logarithms: of a length, were it the only one, and of the scale.
LENGTH, SCALE = (math.log(0.7), 1.0), (0.0, 0.7)
#: Likewise of the noise's variance: what seeds do to a score, in a log of seconds there is less.
NOISY, QUIET = (-2.0, 1.0), (-4.0, 1.0)
BOUNDS_LENGTH, BOUNDS_SCALE, BOUNDS_NOISE = (-3.0, 6.0), (-3.0, 3.0), (-9.0, 2.0)
JITTER = 1e-8


class Process:
    """A Gaussian process of what has been observed.

    Args:
        inputs: places. [n, columns]
        targets: what was observed there, about 0 in the mean and 1 in spread. [n]
        extra: a variance that each target is known to have beside the noise. [n]
        parameter: the parameter that each column belongs to. [columns]
        kernel: logarithms of the lengths of all p parameters, of the scale and of the noise. [p + 2]
    """

    def __init__(
        self, inputs: Floats, targets: Floats, extra: Floats, parameter: Indices, kernel: Floats
    ) -> None:
        from scipy.linalg import cholesky, solve_triangular  # only where it is used: a search starts fast

        self._given, self._parameter, self._kernel = (inputs, targets, extra), parameter, kernel
        self._lengths = np.exp(kernel[:-2])[parameter]
        self._scale, noise = np.exp(kernel[-2:])
        self._scaled = inputs / self._lengths
        covariance = self._scale * _matern(_squares(self._scaled, self._scaled))
        covariance[np.diag_indices(len(inputs))] += noise + JITTER + extra
        lower = cholesky(covariance, lower=True, check_finite=False)
        self._inverse = solve_triangular(lower, np.eye(len(inputs)), lower=True, check_finite=False)
        self._weights = self._inverse.T @ (self._inverse @ targets)

    def mean(self, inputs: Floats) -> Floats:
        """The mean alone. [m, columns] -> [m]"""
        return np.asarray(self._across(inputs) @ self._weights)

    def predict(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of what is below the noise. [m, columns] -> [m], [m]"""
        across = self._across(inputs)
        explained = np.square(across @ self._inverse.T).sum(axis=1)
        return across @ self._weights, np.sqrt(np.maximum(self._scale - explained, 1e-10))

    def _across(self, inputs: Floats) -> Floats:
        found = _matern(_squares(inputs / self._lengths, self._scaled))
        found *= self._scale
        return found

    def believing(self, inputs: Floats) -> Process:
        """The process as if its means had been observed at more places: Kriging believer."""
        old, targets, extra = self._given
        more = self.mean(inputs)
        return Process(
            np.concatenate([old, inputs]),
            np.concatenate([targets, more]),
            np.concatenate([extra, np.zeros(len(more))]),
            self._parameter,
            self._kernel,
        )


def fitted_kernel(
    inputs: Floats,
    targets: Floats,
    extra: Floats,
    parameter: Indices,
    *,
    noise: tuple[float, float] = NOISY,
    begin: Floats | None = None,
) -> Floats:
    """The kernel with the highest posterior density. The arguments are those of `Process`.

    noise: the prior of the noise; begin: an earlier kernel, from which the search for the best begins.
    """
    from scipy.optimize import minimize

    count = int(parameter.max()) + 1
    centre = np.array([LENGTH[0] + math.log(count) / 2] * count + [SCALE[0], noise[0]])
    start = centre if begin is None else begin
    bounds = [BOUNDS_LENGTH] * count + [BOUNDS_SCALE, BOUNDS_NOISE]
    spread = np.array([LENGTH[1]] * count + [SCALE[1], noise[1]])

    def objective(kernel: Floats) -> tuple[float, Floats]:
        pull = (kernel - centre) / spread
        value, gradient = misfit(kernel, inputs, targets, extra, parameter)
        return value + float(pull @ pull) / 2, gradient + pull / spread

    options = {"maxiter": 60}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x)


def misfit(
    kernel: Floats, inputs: Floats, targets: Floats, extra: Floats, parameter: Indices
) -> tuple[float, Floats]:
    """The negative log marginal likelihood less its constant, and its gradient by `kernel`; see `Process`."""
    from scipy.linalg import cho_solve, cholesky

    lengths, (scale, noise) = np.exp(kernel[:-2])[parameter], np.exp(kernel[-2:])
    scaled = inputs / lengths
    root = np.sqrt(5 * _squares(scaled, scaled))
    fading = np.exp(-root)
    correlation = (1 + root + root**2 / 3) * fading
    covariance = scale * correlation
    covariance[np.diag_indices(len(inputs))] += noise + JITTER + extra
    lower = cholesky(covariance, lower=True, check_finite=False)
    inverse = cho_solve((lower, True), np.eye(len(inputs)), check_finite=False)
    weights = inverse @ targets
    value = float(targets @ weights) / 2 + float(np.log(np.diag(lower)).sum())
    outer = np.outer(weights, weights) - inverse  # minus twice the derivative by the covariance
    pulled = (5 / 3 * scale) * outer * (1 + root) * fading
    of_columns = 2 * ((scaled**2).T @ pulled.sum(axis=1) - (scaled * (pulled @ scaled)).sum(axis=0))
    of_lengths = np.bincount(parameter, of_columns)
    of_rest = [scale * (outer * correlation).sum(), noise * np.trace(outer)]
    return value, -np.concatenate([of_lengths, of_rest]) / 2


def _matern(squares: Floats) -> Floats:
    """Correlations by squared scaled distances, in place of those."""
    root = np.sqrt(np.multiply(squares, 5, out=squares), out=squares)
    rising = root / 3
    rising += 1
    rising *= root
    rising += 1
    rising *= np.exp(np.negative(root, out=root), out=root)
    return rising


def _squares(one: Floats, other: Floats) -> Floats:
    """Squared distances between rows. [n, c], [m, c] -> [n, m]"""
    found = (-2 * one) @ other.T
    found += np.square(one).sum(axis=1)[:, None]
    found += np.square(other).sum(axis=1)
    return np.maximum(found, 0.0, out=found)
