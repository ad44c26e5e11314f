"""The best candidate: at the top of the acquisition, valid, and new."""

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.samplers.acquisition import Acquisition
from search.samplers.candidates import best_candidate
from search.samplers.encoding import Encoder
from search.samplers.gp import GaussianProcess


def acquisition(encoder: Encoder, targets: np.ndarray, inputs: np.ndarray) -> Acquisition:
    hyperparameters = np.array([-0.5] * len(encoder) + [0.0, -5.0])
    surrogate = GaussianProcess(
        inputs, targets, np.zeros(len(inputs)), encoder.column_parameter, hyperparameters
    )
    return Acquisition([surrogate], [float(targets.max())])


def test_continuous_parameters_stand_where_the_acquisition_is_highest() -> None:
    encoder = Encoder({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}, {})
    inputs = encoder.sample(np.random.default_rng(0), 12)
    function = acquisition(encoder, -np.square(inputs - 0.4).sum(axis=1), inputs)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 201)] * 2), axis=-1).reshape(-1, 2)
    for seed in range(3):
        found = best_candidate(function, encoder, np.random.default_rng(seed), inputs, inputs[:0])
        assert function(found[None])[0] >= function(grid).max() - 1e-6


def test_steps_choices_and_missing_parameters_stay_valid() -> None:
    space = {
        "x": FloatDistribution(0, 1),
        "n": IntDistribution(1, 6),
        "kind": CategoricalDistribution(["a", "b"]),
        "only_b": FloatDistribution(0, 1),
    }
    encoder = Encoder(space, {"only_b": {"kind": ["b"]}})
    assert encoder.continuous.tolist() == [True, False, False, False, True]
    inputs = encoder.sample(np.random.default_rng(0), 20)
    function = acquisition(encoder, inputs[:, 2] - np.square(inputs[:, 0] - 0.3), inputs)
    found = best_candidate(function, encoder, np.random.default_rng(0), inputs, inputs[:0])
    params = encoder.decode(found)
    np.testing.assert_allclose(encoder.encode([params])[0, :4], found[:4], atol=1e-9)
    if params["kind"] == "a":
        assert found[4] == 0.5


def test_it_is_none_that_was_tried_or_runs() -> None:
    encoder = Encoder({"n": IntDistribution(1, 4)}, {})
    inputs = encoder.encode([{"n": 1}, {"n": 4}])
    running = encoder.encode([{"n": 3}])
    function = acquisition(encoder, np.array([0.0, 1.0]), inputs)
    found = best_candidate(function, encoder, np.random.default_rng(0), inputs, running)
    assert encoder.decode(found) == {"n": 2}
