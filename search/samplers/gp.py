"""The surrogate model of the search: Gaussian process regression (Rasmussen & Williams, 2006).

The kernel is Matern 5/2 with automatic relevance determination: one length scale for each parameter. Length
scales, output scale and noise variance are fitted to the maximum of their posterior density (MAP), as
logarithms. The prior expects length scales to grow with the square root of the number of parameters (Hvarfner
et al., ICML 2024): the more parameters there are, the fewer matter.
"""

from __future__ import annotations

import math

import numpy as np

from search.samplers.encoding import Floats, Indices

#: Normal priors (mean, standard deviation) of logarithms: of the length scale, if there is one parameter
#: only, and of the output scale.
LENGTH_SCALE_PRIOR, OUTPUT_SCALE_PRIOR = (math.log(0.7), 1.0), (0.0, 0.7)
#: The same of the noise variance. Scores differ from seed to seed, by how much the data tell; the logarithm
#: of seconds is less noisy.
SCORE_NOISE_PRIOR, COST_NOISE_PRIOR = (-4.0, 2.0), (-4.0, 1.0)
LENGTH_SCALE_BOUNDS, OUTPUT_SCALE_BOUNDS, NOISE_BOUNDS = (-3.0, 6.0), (-3.0, 3.0), (-9.0, 2.0)
#: Observations up to which every fit starts from the prior means, too: its time grows with their cube.
RESTART_TRIALS = 100
#: Added to the covariance's diagonal, so that its Cholesky factor exists.
JITTER = 1e-8


class GaussianProcess:
    """The posterior of a Gaussian process, given observations.

    Args:
        inputs: encoded configurations. [n, columns]
        targets: what was observed there, with a mean of about 0 and a spread of about 1. [n]
        extra_variance: of each target, known beforehand and added to the noise variance. [n]
        column_parameter: the index of the parameter that each column belongs to. [columns]
        hyperparameters: of the kernel, as logarithms: the length scale of each of p parameters, the output
            scale, the noise variance. [p + 2]
    """

    def __init__(
        self,
        inputs: Floats,
        targets: Floats,
        extra_variance: Floats,
        column_parameter: Indices,
        hyperparameters: Floats,
    ) -> None:
        from scipy.linalg import cholesky, solve_triangular  # only where it is used: a search starts fast

        self._observations = (inputs, targets, extra_variance)
        self._column_parameter, self.hyperparameters = column_parameter, hyperparameters
        self._length_scales = np.exp(hyperparameters[:-2])[column_parameter]
        self._output_scale, noise = np.exp(hyperparameters[-2:])
        self._scaled = inputs / self._length_scales
        covariance = self._output_scale * _matern(_squared_distances(self._scaled, self._scaled))
        covariance[np.diag_indices(len(inputs))] += noise + JITTER + extra_variance
        lower = cholesky(covariance, lower=True, check_finite=False)
        self._inverse = solve_triangular(lower, np.eye(len(inputs)), lower=True, check_finite=False)
        self._weights = self._inverse.T @ (self._inverse @ targets)

    def mean(self, inputs: Floats) -> Floats:
        """The posterior mean alone. [m, columns] -> [m]"""
        return np.asarray(self._cross_covariance(inputs) @ self._weights)

    def predict(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the latent, noise-free function.

        Shapes: [m, columns] -> [m], [m]
        """
        cross = self._cross_covariance(inputs)
        explained = np.square(cross @ self._inverse.T).sum(axis=1)
        return cross @ self._weights, np.sqrt(np.maximum(self._output_scale - explained, 1e-10))

    def predict_with_gradients(self, inputs: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """As `predict`, and then the gradients of mean and deviation by the inputs.

        Shapes: [m, columns] -> [m], [m], [m, columns], [m, columns]
        """
        scaled = inputs / self._length_scales
        cross, fall = self._covariance_and_fall(scaled)
        half = cross @ self._inverse.T
        deviation = np.sqrt(np.maximum(self._output_scale - np.square(half).sum(axis=1), 1e-10))

        def gradient(weights: Floats) -> Floats:
            """Of the covariances' sum with these weights, by the inputs."""
            by_row = -fall * weights
            return np.asarray(
                (scaled * by_row.sum(axis=1)[:, None] - by_row @ self._scaled) / self._length_scales
            )

        by_variance = gradient(-2 * (half @ self._inverse))
        return (
            cross @ self._weights,
            deviation,
            gradient(self._weights),
            by_variance / (2 * deviation[:, None]),
        )

    def information(self) -> Floats:
        """The Fisher information of the hyperparameters: how sharply the data tell them. [p + 2, p + 2]

        Source: Mardia & Marshall, Biometrika 1984, eq. 4.1.
        """
        precision = self._inverse.T @ self._inverse
        covariance, fall = self._covariance_and_fall(self._scaled)
        derivatives = []  # of the covariance, by each hyperparameter
        for parameter in range(len(self.hyperparameters) - 2):
            columns = self._scaled[:, self._column_parameter == parameter]
            derivatives.append(fall * _squared_distances(columns, columns))
        derivatives += [covariance, np.exp(self.hyperparameters[-1]) * np.eye(len(covariance))]
        products = precision @ np.stack(derivatives)
        return np.asarray(np.einsum("imn,jnm->ij", products, products, optimize=True) / 2)

    @property
    def noise_variance(self) -> float:
        """The variance of an observation around the function, without any extra variance."""
        return float(np.exp(self.hyperparameters[-1]))

    def leave_one_out(self) -> Floats:
        """What each observation is predicted to be by all others. [n]

        Source: Rasmussen & Williams, eq. 5.12.
        """
        targets = self._observations[1]
        return np.asarray(targets - self._weights / np.square(self._inverse).sum(axis=0))

    def _cross_covariance(self, inputs: Floats) -> Floats:
        covariance = _matern(_squared_distances(inputs / self._length_scales, self._scaled))
        covariance *= self._output_scale
        return covariance

    def _covariance_and_fall(self, scaled: Floats) -> tuple[Floats, Floats]:
        """Covariances with the observations, and how fast they fall with half the squared distance.

        Shapes: scaled inputs [m, columns] -> [m, n], [m, n]
        """
        root = np.sqrt(5 * _squared_distances(scaled, self._scaled))
        decay = self._output_scale * np.exp(-root)
        return (1 + root + root**2 / 3) * decay, 5 / 3 * (1 + root) * decay

    def kriging_believer(self, inputs: Floats) -> GaussianProcess:
        """The process as if its own posterior mean had been observed at `inputs`, too.

        Source: Ginsbourger et al., Kriging Is Well-Suited to Parallelize Optimization, 2010.
        """
        old_inputs, targets, extra_variance = self._observations
        believed = self.mean(inputs)
        return GaussianProcess(
            np.concatenate([old_inputs, inputs]),
            np.concatenate([targets, believed]),
            np.concatenate([extra_variance, np.zeros(len(believed))]),
            self._column_parameter,
            self.hyperparameters,
        )


def fit_hyperparameters(
    inputs: Floats,
    targets: Floats,
    extra_variance: Floats,
    column_parameter: Indices,
    *,
    noise_prior: tuple[float, float] = SCORE_NOISE_PRIOR,
    start: Floats | None = None,
) -> Floats:
    """The kernel hyperparameters with the highest posterior density (MAP). [p + 2]

    Args:
        inputs: as those of `GaussianProcess`, and so are the next three.
        targets: see there.
        extra_variance: see there.
        column_parameter: see there.
        noise_prior: mean and standard deviation of the logarithm of the noise variance.
        start: earlier hyperparameters, from which the optimiser starts, too. It always starts from the prior
            means, unless there are `start` and more than RESTART_TRIALS observations.
    """
    from scipy.optimize import minimize

    count = int(column_parameter.max()) + 1
    centre, spread = _prior(count, noise_prior)
    bounds = _bounds(count)

    def negative_log_posterior(hyperparameters: Floats) -> tuple[float, Floats]:
        deviation = (hyperparameters - centre) / spread
        value, gradient = negative_log_likelihood(
            hyperparameters, inputs, targets, extra_variance, column_parameter
        )
        return value + float(deviation @ deviation) / 2, gradient + deviation / spread

    starts = [one for one in (start, centre) if one is not None]
    results = [
        minimize(
            negative_log_posterior, one, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60}
        )
        for one in (starts if len(inputs) <= RESTART_TRIALS else starts[:1])
    ]
    return np.asarray(min(results, key=lambda result: result.fun).x)


def draw_hyperparameters(
    process: GaussianProcess, noise_prior: tuple[float, float], rng: np.random.Generator, draws: int
) -> Floats:
    """Draws from the posterior density of the hyperparameters, around those of `process`. [draws, p + 2]

    It is taken as normal (Laplace's approximation, with the expected curvature in place of the observed one).

    Args:
        process: its hyperparameters are those of `fit_hyperparameters`.
        noise_prior: see there.
        rng: of the draws.
        draws: their number.
    """
    centre = process.hyperparameters
    if not draws:
        return np.empty((0, len(centre)))
    _, spread = _prior(len(centre) - 2, noise_prior)
    curvatures, axes = np.linalg.eigh(process.information() + np.diag(spread**-2))
    shifts = rng.standard_normal((draws, len(centre))) / np.sqrt(curvatures)
    low, high = np.array(_bounds(len(centre) - 2)).T
    return np.asarray(np.clip(centre + shifts @ axes.T, low, high))


def _prior(count: int, noise_prior: tuple[float, float]) -> tuple[Floats, Floats]:
    """Means and standard deviations of the hyperparameters of `count` parameters. [count + 2]"""
    length_scale = LENGTH_SCALE_PRIOR[0] + math.log(count) / 2
    centre = np.array([length_scale] * count + [OUTPUT_SCALE_PRIOR[0], noise_prior[0]])
    return centre, np.array([LENGTH_SCALE_PRIOR[1]] * count + [OUTPUT_SCALE_PRIOR[1], noise_prior[1]])


def _bounds(count: int) -> list[tuple[float, float]]:
    return [LENGTH_SCALE_BOUNDS] * count + [OUTPUT_SCALE_BOUNDS, NOISE_BOUNDS]


def negative_log_likelihood(
    hyperparameters: Floats,
    inputs: Floats,
    targets: Floats,
    extra_variance: Floats,
    column_parameter: Indices,
) -> tuple[float, Floats]:
    """The negative log marginal likelihood without its constant, and its gradient by `hyperparameters`.

    The arguments are those of `GaussianProcess`. Source: Rasmussen & Williams, eq. 5.8 and 5.9.
    """
    from scipy.linalg import cho_solve, cholesky

    length_scales = np.exp(hyperparameters[:-2])[column_parameter]
    output_scale, noise = np.exp(hyperparameters[-2:])
    scaled = inputs / length_scales
    root = np.sqrt(5 * _squared_distances(scaled, scaled))
    decay = np.exp(-root)
    correlation = (1 + root + root**2 / 3) * decay
    covariance = output_scale * correlation
    covariance[np.diag_indices(len(inputs))] += noise + JITTER + extra_variance
    lower = cholesky(covariance, lower=True, check_finite=False)
    inverse = cho_solve((lower, True), np.eye(len(inputs)), check_finite=False)
    weights = inverse @ targets
    value = float(targets @ weights) / 2 + float(np.log(np.diag(lower)).sum())
    outer = np.outer(weights, weights) - inverse  # minus twice the derivative by the covariance
    weighted = (5 / 3 * output_scale) * outer * (1 + root) * decay
    by_column = 2 * ((scaled**2).T @ weighted.sum(axis=1) - (scaled * (weighted @ scaled)).sum(axis=0))
    by_length_scale = np.bincount(column_parameter, by_column)
    by_others = [output_scale * (outer * correlation).sum(), noise * np.trace(outer)]
    return value, -np.concatenate([by_length_scale, by_others]) / 2


def _matern(squared: Floats) -> Floats:
    """Matern 5/2 correlations of squared scaled distances; overwrites those."""
    root = np.sqrt(np.multiply(squared, 5, out=squared), out=squared)
    correlation = root / 3
    correlation += 1
    correlation *= root
    correlation += 1
    correlation *= np.exp(np.negative(root, out=root), out=root)
    return correlation


def _squared_distances(left: Floats, right: Floats) -> Floats:
    """Squared distances between rows. [n, c], [m, c] -> [n, m]"""
    squared = (-2 * left) @ right.T
    squared += np.square(left).sum(axis=1)[:, None]
    squared += np.square(right).sum(axis=1)
    return np.maximum(squared, 0.0, out=squared)
