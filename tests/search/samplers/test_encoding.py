"""Configurations as places: there and back, what does not exist, and neighbours."""

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.samplers.encoding import Places

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
def places() -> Places:
    return Places(SPACE, CONDITIONS)


def existing(values: dict) -> dict:
    """Without what does not exist."""
    kept = dict(values)
    if not kept["flag"]:
        del kept["heads"]
    if kept.get("heads") not in (1, 2):
        del kept["depth"]
    return kept


def test_a_configuration_comes_back_from_its_place(places: Places) -> None:
    drawn = places.draw(np.random.default_rng(0), 200)
    assert len(places) == len(SPACE)
    assert drawn.shape == (200, sum(WIDTHS.values()))
    values = [places.values(place) for place in drawn]
    for one in values:
        for name, distribution in SPACE.items():
            assert distribution._contains(distribution.to_internal_repr(one[name]))
    np.testing.assert_allclose(places.of([existing(one) for one in values]), drawn, atol=1e-12)
    assert {len(existing(one)) for one in values} == {5, 6, 7}


def test_numbers_lie_in_their_order_and_choices_apart(places: Places) -> None:
    def of(**changed: object) -> np.ndarray:
        base = {"lr": 1e-3, "dropout": 0.3, "layers": 2, "kind": "a", "flag": True, "heads": 1, "depth": 2}
        return places.of([base | changed])[0]

    assert of(lr=1e-3)[0] == pytest.approx(0.5)
    heads = [of(heads=count)[8] for count in (1, 2, 4)]
    assert heads == [0.0, 0.5, 1.0]
    apart = [np.linalg.norm(of(kind=one) - of(kind=other)) for one, other in ("ab", "bc", "ca")]
    np.testing.assert_allclose(apart, 1.0)
    unknown = places.of([{"kind": "no longer there"}])[0]
    np.testing.assert_allclose(unknown[3:6], math.sqrt(0.5) / 3)
    assert unknown[0] == 0.5


def test_neighbours_differ_in_some_parameters_and_are_near(places: Places) -> None:
    chance = np.random.default_rng(0)
    around = places.draw(chance, 3)
    near = places.near(chance, around, 400, 0.05)
    assert near.shape == (1200, around.shape[1])
    values = [places.values(place) for place in near]
    np.testing.assert_allclose(places.of([existing(one) for one in values]), near, atol=1e-12)
    origin = np.repeat(around, 400, axis=0)
    moved = np.abs(near[:, 0] - origin[:, 0])
    assert 0.2 < np.mean(moved > 0) < 0.7
    assert 0.02 < np.median(moved[moved > 0]) < 0.05
    assert near[:, 0].min() >= 0.0
    assert near[:, 0].max() <= 1.0
