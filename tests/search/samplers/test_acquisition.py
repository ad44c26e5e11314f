"""Log expected improvement against its integral, and what compression does to scores."""

import dataclasses

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from scipy import integrate, stats

from search.samplers.acquisition import Acquisition, compress_low_scores, log_expected_improvement
from search.samplers.encoding import Encoder
from search.samplers.gp import GaussianProcess
from search.samplers.priors import PriorDensity
from search.space.prior import Prior


def test_expected_improvement_is_its_integral() -> None:
    for mean, deviation, best in ((0.3, 0.5, 0.2), (0.0, 1.0, 2.5), (-1.0, 0.3, 0.4)):
        expected, _ = integrate.quad(
            lambda y, m=mean, s=deviation, b=best: (y - b) * stats.norm.pdf(y, m, s),
            best, best + 12 * deviation, epsabs=0, epsrel=1e-10,
        )  # fmt: skip
        value = log_expected_improvement(np.array([mean]), np.array([deviation]), best)
        assert value[0] == pytest.approx(np.log(expected), rel=1e-7)


def test_far_below_the_best_it_still_tells_which_mean_is_nearer() -> None:
    means = -np.logspace(0, 4, 200)
    values = log_expected_improvement(means, np.ones_like(means), 0.0)
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()
    limit = stats.norm.logpdf(means[-1]) - 2 * np.log(-means[-1])
    assert values[-1] == pytest.approx(limit, abs=1e-6)
    at_join = log_expected_improvement(np.array([-1 - 1e-9, -1 + 1e-9]), np.ones(2), 0.0)
    assert at_join[0] == pytest.approx(at_join[1], abs=1e-7)


def test_low_scores_are_compressed_and_keep_their_order() -> None:
    scores = np.array([0.1, 0.3, 0.5, 0.56, 0.57, 0.58, 0.6])
    compressed, slopes = compress_low_scores(scores)
    assert (np.diff(compressed) > 0).all()
    assert compressed[3] == 0.0
    assert compressed[0] > -4  # 15 times as far below the median as the better half is above it
    step = 1e-7
    for index in (0, 1, 4, 6):
        moved = scores.copy()
        moved[index] += step
        if index < 3:  # above the median, a score changes the unit as well
            slope = (compress_low_scores(moved)[0][index] - compressed[index]) / step
            assert slope == pytest.approx(slopes[index], rel=1e-4)
        else:
            assert slopes[index] == pytest.approx(compressed[6] / 0.04, rel=1e-9)
    assert np.isfinite(compress_low_scores(np.full(9, 0.5))[0]).all()
    infinite = np.array([-np.inf, 0.1, 0.2, 0.4, np.inf])
    np.testing.assert_array_equal(
        compress_low_scores(infinite), compress_low_scores(np.array([0.1, 0.1, 0.2, 0.4, 0.4]))
    )
    assert np.isfinite(compress_low_scores(np.full(9, -np.inf))[0]).all()


def hill_and_cost() -> Acquisition:
    rng = np.random.default_rng(0)
    inputs, parameters = rng.random((30, 4)), np.arange(4)
    kernels = np.array([[0.0, 0.2, -0.3, 0.1, 0.0, -3.0], [0.5, -0.4, 0.3, 0.9, 0.2, -1.0]])
    score, cost = np.sin(3 * inputs.sum(axis=1)), inputs[:, 0]
    surrogates = [GaussianProcess(inputs, score, np.zeros(30), parameters, kernel) for kernel in kernels]
    log_cost = GaussianProcess(inputs, cost, np.zeros(30), parameters, kernels[0])
    return Acquisition(surrogates, [0.9, 0.7], log_cost, 0.7)


def belief() -> PriorDensity:
    space = {name: FloatDistribution(0, 1) for name in "abcd"}
    return PriorDensity(Encoder(space, {}), space, {"b": Prior(0.2, "high")}).to_power(0.7)


@pytest.mark.parametrize("priors", [None, belief()])
def test_its_gradient_is_that_of_finite_differences(priors: PriorDensity | None) -> None:
    acquisition = dataclasses.replace(hill_and_cost(), priors=priors)
    for candidate in np.random.default_rng(1).random((5, 4)):
        value, gradient = acquisition.with_gradient(candidate)
        assert value == pytest.approx(acquisition(candidate[None])[0], rel=1e-9)
        steps = 1e-6 * np.eye(4)
        differences = (acquisition(candidate + steps) - acquisition(candidate - steps)) / 2e-6
        np.testing.assert_allclose(gradient, differences, rtol=1e-4, atol=1e-5)


def test_the_improvement_is_the_mean_over_surrogates() -> None:
    acquisition = dataclasses.replace(hill_and_cost(), log_cost=None)
    candidates = np.random.default_rng(1).random((5, 4))
    improvements = [
        np.exp(log_expected_improvement(*surrogate.predict(candidates), incumbent))
        for surrogate, incumbent in zip(acquisition.surrogates, acquisition.incumbents, strict=True)
    ]
    assert not np.allclose(*improvements, rtol=0.1)
    np.testing.assert_allclose(np.exp(acquisition(candidates)), np.mean(improvements, axis=0))


def test_what_is_believed_adds_to_it() -> None:
    candidates = np.random.default_rng(1).random((5, 4))
    plain, believed = hill_and_cost(), dataclasses.replace(hill_and_cost(), priors=belief())
    np.testing.assert_allclose(believed(candidates) - plain(candidates), belief().log(candidates))
