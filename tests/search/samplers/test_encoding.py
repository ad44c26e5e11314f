"""Configurations as unit-cube vectors: decoding inverts encoding, imputed parameters, and neighbours."""

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.samplers.encoding import Encoder

SPACE = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 0.6, step=0.1),
    "layers": IntDistribution(1, 6),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "flag": CategoricalDistribution([True, False]),
    "heads": CategoricalDistribution([4, 1, 2]),
    "depth": IntDistribution(1, 3),
}
#: heads need the flag, depth needs heads of 1 or 2.
CONDITIONS = {"heads": {"flag": (True,)}, "depth": {"heads": (1, 2)}}
WIDTHS = {"lr": 1, "dropout": 1, "layers": 1, "kind": 3, "flag": 2, "heads": 1, "depth": 1}


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(SPACE, CONDITIONS)


def active(values: dict) -> dict:
    """The parameters that exist."""
    params = dict(values)
    if not params["flag"]:
        del params["heads"]
    if params.get("heads") not in (1, 2):
        del params["depth"]
    return params


def test_a_configuration_is_decoded_from_its_vector(encoder: Encoder) -> None:
    vectors = encoder.sample(np.random.default_rng(0), 200)
    assert len(encoder) == len(SPACE)
    assert vectors.shape == (200, sum(WIDTHS.values()))
    configurations = [encoder.decode(vector) for vector in vectors]
    for values in configurations:
        for name, distribution in SPACE.items():
            assert distribution._contains(distribution.to_internal_repr(values[name]))
    encoded = encoder.encode([active(values) for values in configurations])
    np.testing.assert_allclose(encoded, vectors, atol=1e-12)
    assert {len(active(values)) for values in configurations} == {5, 6, 7}


def test_numbers_keep_their_order_and_other_choices_are_equally_far_apart(encoder: Encoder) -> None:
    def encoded(**changes: object) -> np.ndarray:
        base = {"lr": 1e-3, "dropout": 0.3, "layers": 2, "kind": "a", "flag": True, "heads": 1, "depth": 2}
        return encoder.encode([base | changes])[0]

    assert encoded(lr=1e-3)[0] == pytest.approx(0.5)
    heads = [encoded(heads=count)[8] for count in (1, 2, 4)]
    assert heads == [0.0, 0.5, 1.0]
    distances = [
        np.linalg.norm(encoded(kind=left) - encoded(kind=right)) for left, right in ("ab", "bc", "ca")
    ]
    np.testing.assert_allclose(distances, 1.0)
    unknown = encoder.encode([{"kind": "no longer there"}])[0]
    np.testing.assert_allclose(unknown[3:6], math.sqrt(0.5) / 3)
    assert unknown[0] == 0.5


def test_neighbours_differ_in_some_parameters_and_are_near(encoder: Encoder) -> None:
    rng = np.random.default_rng(0)
    centres = encoder.sample(rng, 3)
    neighbours = encoder.neighbours(rng, centres, 400, 0.05)
    assert neighbours.shape == (1200, centres.shape[1])
    configurations = [encoder.decode(vector) for vector in neighbours]
    encoded = encoder.encode([active(values) for values in configurations])
    np.testing.assert_allclose(encoded, neighbours, atol=1e-12)
    origins = np.repeat(centres, 400, axis=0)
    moved = np.abs(neighbours[:, 0] - origins[:, 0])
    assert 0.2 < np.mean(moved > 0) < 0.7
    assert 0.02 < np.median(moved[moved > 0]) < 0.05
    assert neighbours[:, 0].min() >= 0.0
    assert neighbours[:, 0].max() <= 1.0
