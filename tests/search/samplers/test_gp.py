"""The Gaussian process against scikit-learn's, and its gradient against finite differences."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from search.samplers.gp import (
    COST_NOISE_PRIOR,
    JITTER,
    SCORE_NOISE_PRIOR,
    GaussianProcess,
    draw_hyperparameters,
    fit_hyperparameters,
    negative_log_likelihood,
)

#: Three parameters, of which the last has two columns.
COLUMN_PARAMETER = np.array([0, 1, 2, 2])


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = rng.random((40, 4))
    targets = np.sin(5 * inputs[:, 0]) + inputs[:, 2] + 0.1 * rng.standard_normal(40)
    return inputs, targets - targets.mean(), 0.2 * rng.random(40)


def reference(hyperparameters: np.ndarray, inputs, targets, extra_variance) -> GaussianProcessRegressor:
    length_scales = np.exp(hyperparameters[:-2])[COLUMN_PARAMETER]
    kernel = ConstantKernel(np.exp(hyperparameters[-2])) * Matern(length_scales, nu=2.5)
    variance = np.exp(hyperparameters[-1]) + JITTER + extra_variance
    return GaussianProcessRegressor(kernel, alpha=variance, optimizer=None).fit(inputs, targets)


HYPERPARAMETERS = [np.array([-0.7, 0.5, 0.1, 0.3, -2.0]), np.array([1.0, -1.0, 2.0, -0.5, -4.0])]


@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS)
def test_predictions_are_those_of_scikit_learn(hyperparameters, data) -> None:
    process = GaussianProcess(*data, COLUMN_PARAMETER, hyperparameters)
    inputs = np.random.default_rng(1).random((30, 4))
    mean, deviation = process.predict(inputs)
    their_mean, their_deviation = reference(hyperparameters, *data).predict(inputs, return_std=True)
    np.testing.assert_allclose(mean, their_mean, atol=1e-9)
    np.testing.assert_allclose(deviation, their_deviation, atol=1e-7)
    np.testing.assert_allclose(process.mean(inputs), their_mean, atol=1e-9)
    assert process.noise_variance == pytest.approx(np.exp(hyperparameters[-1]))


@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS)
def test_the_likelihood_is_that_of_scikit_learn_and_so_is_its_gradient(hyperparameters, data) -> None:
    value, gradient = negative_log_likelihood(hyperparameters, *data, COLUMN_PARAMETER)
    theirs = reference(hyperparameters, *data).log_marginal_likelihood_value_
    assert -value - 20 * np.log(2 * np.pi) == pytest.approx(theirs, abs=1e-9)

    def at(moved: np.ndarray) -> float:
        return negative_log_likelihood(moved, *data, COLUMN_PARAMETER)[0]

    steps = 1e-5 * np.eye(len(hyperparameters))
    differences = [(at(hyperparameters + step) - at(hyperparameters - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, differences, atol=1e-6)


def test_the_fit_finds_the_relevant_parameter_and_the_noise() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.random((150, 6))
    exact = np.sin(6 * inputs[:, 2])
    noisy = exact + 0.5 * rng.standard_normal(150)
    zeros, columns = np.zeros(150), np.arange(6)
    for targets in (exact, noisy):
        length_scales = fit_hyperparameters(inputs, targets - targets.mean(), zeros, columns)[:-2]
        assert length_scales.argmin() == 2
        assert np.sort(length_scales)[1] > length_scales[2] + 1
    noise = [
        np.exp(
            fit_hyperparameters(
                inputs, targets - targets.mean(), zeros, columns, noise_prior=COST_NOISE_PRIOR
            )[-1]
        )
        for targets in (exact, noisy)
    ]
    assert noise[0] < 0.01
    assert noise[1] == pytest.approx(0.25, rel=0.5)


def test_a_fit_from_a_bad_start_is_as_good_as_one_from_the_prior_means() -> None:
    inputs = np.random.default_rng(0).random((40, 2))
    zeros, columns, targets = np.zeros(40), np.arange(2), np.sin(12 * inputs[:, 0])
    wrong = np.array([6.0, -3.0, 0.0, -4.0])  # only the second parameter matters
    fits = [fit_hyperparameters(inputs, targets, zeros, columns, start=start) for start in (None, wrong)]
    values = [negative_log_likelihood(one, inputs, targets, zeros, columns)[0] for one in fits]
    assert values[1] < values[0] + 0.1


@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS)
def test_the_information_is_that_of_a_normal_distribution(hyperparameters, data) -> None:
    """tr(K^-1 dK_i K^-1 dK_j) / 2, with differences of scikit-learn's covariances."""
    inputs, _, extra_variance = data

    def covariance(moved: np.ndarray) -> np.ndarray:
        kernel = reference(moved, *data).kernel_
        return kernel(inputs) + np.diag(np.exp(moved[-1]) + JITTER + extra_variance)

    steps = 1e-5 * np.eye(len(hyperparameters))
    slopes = [
        (covariance(hyperparameters + step) - covariance(hyperparameters - step)) / 2e-5 for step in steps
    ]
    products = [np.linalg.solve(covariance(hyperparameters), slope) for slope in slopes]
    expected = [[np.trace(one @ other) / 2 for other in products] for one in products]
    process = GaussianProcess(*data, COLUMN_PARAMETER, hyperparameters)
    np.testing.assert_allclose(process.information(), expected, rtol=1e-5, atol=1e-6)


def test_draws_of_hyperparameters_spread_as_far_as_the_data_leave_them_open() -> None:
    rng = np.random.default_rng(0)
    inputs, columns = rng.random((60, 3)), np.arange(3)
    targets = np.sin(6 * inputs[:, 0])
    kernel = fit_hyperparameters(inputs, targets, np.zeros(60), columns)
    process = GaussianProcess(inputs, targets, np.zeros(60), columns, kernel)
    draws = draw_hyperparameters(process, SCORE_NOISE_PRIOR, rng, 4000)
    assert (draws >= [-3, -3, -3, -3, -9]).all()
    assert (draws <= [6, 6, 6, 3, 2]).all()
    spread = np.sqrt(np.diag(np.linalg.inv(process.information() + np.diag([1, 1, 1, 0.7**-2, 0.25]))))
    inside = [0, 1, 2, 3]  # the bounds of the noise cut off some draws
    np.testing.assert_allclose(draws.mean(axis=0)[inside], kernel[inside], atol=0.05)
    np.testing.assert_allclose(draws.std(axis=0)[inside], spread[inside], rtol=0.05)
    assert draws[:, 0].std() < 0.5 * draws[:, 1].std()  # only the first parameter matters


def test_the_kriging_believer_keeps_the_mean_and_lowers_the_uncertainty(data) -> None:
    process = GaussianProcess(*data, COLUMN_PARAMETER, HYPERPARAMETERS[0])
    running = np.full((1, 4), 0.95)
    inputs = np.concatenate([running, np.random.default_rng(2).random((20, 4))])
    mean, deviation = process.predict(inputs)
    mean_then, deviation_then = process.kriging_believer(running).predict(inputs)
    np.testing.assert_allclose(mean_then, mean, atol=1e-9)
    assert (deviation_then <= deviation + 1e-9).all()
    assert deviation_then[0] < 0.8 * deviation[0]


def test_a_target_with_extra_variance_counts_less(data) -> None:
    inputs, targets, extra_variance = data
    first, change = inputs[:1], np.eye(40)[0]

    def mean(targets: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return GaussianProcess(inputs, targets, variance, COLUMN_PARAMETER, HYPERPARAMETERS[0]).mean(first)

    before = mean(targets, 0 * extra_variance)
    certain = mean(targets + change, 0 * extra_variance)
    uncertain = mean(targets + change, 9 * change)
    assert abs(uncertain - before) < 0.3 * abs(certain - before)


@pytest.mark.parametrize("hyperparameters", HYPERPARAMETERS)
def test_an_observation_is_predicted_by_all_others(hyperparameters, data) -> None:
    predicted = GaussianProcess(*data, COLUMN_PARAMETER, hyperparameters).leave_one_out()
    for left_out in range(0, 40, 7):
        others = np.delete(np.arange(40), left_out)
        process = GaussianProcess(*(part[others] for part in data), COLUMN_PARAMETER, hyperparameters)
        assert predicted[left_out] == pytest.approx(process.mean(data[0][[left_out]])[0], abs=1e-7)
