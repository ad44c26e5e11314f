"""Gaussian processes against scikit-learn's, and their gradient against differences."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from search.samplers.gp import JITTER, QUIET, Process, fitted_kernel, misfit

#: Three parameters, of which the last has two columns.
PARAMETER = np.array([0, 1, 2, 2])


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    inputs = chance.random((40, 4))
    targets = np.sin(5 * inputs[:, 0]) + inputs[:, 2] + 0.1 * chance.standard_normal(40)
    return inputs, targets - targets.mean(), 0.2 * chance.random(40)


def reference(kernel: np.ndarray, inputs, targets, extra) -> GaussianProcessRegressor:
    lengths = np.exp(kernel[:-2])[PARAMETER]
    prior = ConstantKernel(np.exp(kernel[-2])) * Matern(lengths, nu=2.5)
    found = GaussianProcessRegressor(prior, alpha=np.exp(kernel[-1]) + JITTER + extra, optimizer=None)
    return found.fit(inputs, targets)


KERNELS = [np.array([-0.7, 0.5, 0.1, 0.3, -2.0]), np.array([1.0, -1.0, 2.0, -0.5, -4.0])]


@pytest.mark.parametrize("kernel", KERNELS)
def test_predictions_are_those_of_scikit_learn(kernel, data) -> None:
    inputs, targets, extra = data
    asked = np.random.default_rng(1).random((30, 4))
    mean, deviation = Process(inputs, targets, extra, PARAMETER, kernel).predict(asked)
    theirs, spread = reference(kernel, *data).predict(asked, return_std=True)
    np.testing.assert_allclose(mean, theirs, atol=1e-9)
    np.testing.assert_allclose(deviation, spread, atol=1e-7)
    np.testing.assert_allclose(Process(*data, PARAMETER, kernel).mean(asked), theirs, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_likelihood_is_that_of_scikit_learn_and_so_is_its_gradient(kernel, data) -> None:
    value, gradient = misfit(kernel, *data, PARAMETER)
    theirs = reference(kernel, *data).log_marginal_likelihood_value_
    assert -value - 20 * np.log(2 * np.pi) == pytest.approx(theirs, abs=1e-9)
    steps = 1e-5 * np.eye(len(kernel))
    differences = [
        (misfit(kernel + step, *data, PARAMETER)[0] - misfit(kernel - step, *data, PARAMETER)[0]) / 2e-5
        for step in steps
    ]
    np.testing.assert_allclose(gradient, differences, atol=1e-6)


def test_the_fit_finds_what_matters_and_how_noisy_it_is() -> None:
    chance = np.random.default_rng(0)
    inputs = chance.random((150, 6))
    targets = np.sin(6 * inputs[:, 2])
    loud = targets + 0.5 * chance.standard_normal(150)
    none, parameter = np.zeros(150), np.arange(6)
    for given in (targets, loud):
        lengths = fitted_kernel(inputs, given - given.mean(), none, parameter)[:-2]
        assert lengths.argmin() == 2
        assert np.sort(lengths)[1] > lengths[2] + 1
    noise = [
        np.exp(fitted_kernel(inputs, given - given.mean(), none, parameter, noise=QUIET)[-1])
        for given in (targets, loud)
    ]
    assert noise[0] < 0.01
    assert noise[1] == pytest.approx(0.25, rel=0.5)


def test_what_is_believed_leaves_the_mean_and_takes_the_doubt(data) -> None:
    process = Process(*data, PARAMETER, KERNELS[0])
    there = np.full((1, 4), 0.95)
    asked = np.concatenate([there, np.random.default_rng(2).random((20, 4))])
    (mean, deviation), (later, less) = process.predict(asked), process.believing(there).predict(asked)
    np.testing.assert_allclose(later, mean, atol=1e-9)
    assert (less <= deviation + 1e-9).all()
    assert less[0] < 0.8 * deviation[0]


def test_a_target_that_is_known_to_be_uncertain_counts_less(data) -> None:
    inputs, targets, extra = data
    place, pull = inputs[:1], np.eye(40)[0]
    sure = Process(inputs, targets + pull, 0 * extra, PARAMETER, KERNELS[0]).mean(place)
    unsure = Process(inputs, targets + pull, 9 * pull, PARAMETER, KERNELS[0]).mean(place)
    before = Process(inputs, targets, 0 * extra, PARAMETER, KERNELS[0]).mean(place)
    assert abs(unsure - before) < 0.3 * abs(sure - before)
