"""Priors as densities, against scipy's, their integrals and finite differences; and draws from them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from rigsl.errors import UserError
from search.samplers.encoding import Encoder
from search.samplers.priors import UNIFORM_SHARE, PriorDensity, PriorSampler, agreement
from search.space.prior import CONFIDENCES, Prior

SPACE = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "layers": IntDistribution(1, 6),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "flag": CategoricalDistribution([True, False]),
    "heads": CategoricalDistribution([4, 1, 2]),
    "tau": FloatDistribution(0.0, 1.0),
}
#: heads need the flag, tau needs heads of 1 or 2.
CONDITIONS = {"heads": {"flag": (True,)}, "tau": {"heads": (1, 2)}}
PRIORS = {
    "lr": Prior(1e-2, "high"),
    "kind": Prior("b", "medium"),
    "heads": Prior(2, "high"),
    "tau": Prior(0.9, "medium"),
}


def density(priors: dict[str, Prior] = PRIORS) -> PriorDensity:
    return PriorDensity(Encoder(SPACE, CONDITIONS), SPACE, priors)


def logs(params: list[dict[str, Any]], **options: Any) -> np.ndarray:
    return density(**options).log(Encoder(SPACE, CONDITIONS).encode(params))


def mixed(believed: float) -> float:
    """The logarithm of a density with its uniform share."""
    return float(np.log((1 - UNIFORM_SHARE) * believed + UNIFORM_SHARE))


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_a_number_has_a_normal_density_cut_off_at_the_ends_of_its_range(confidence: str) -> None:
    deviation = {"low": 0.5, "medium": 0.25, "high": 0.125}[confidence]
    rates = np.logspace(-5, -1, 9)
    found = logs([{"lr": rate, "flag": False} for rate in rates], priors={"lr": Prior(1e-2, confidence)})
    ends = (np.array([0, 1]) - 0.75) / deviation
    believed = stats.truncnorm(*ends, loc=0.75, scale=deviation).pdf((np.log10(rates) + 5) / 4)
    np.testing.assert_allclose(found, [mixed(value) for value in believed], atol=1e-9)


@pytest.mark.parametrize(("confidence", "weight"), [("low", 2), ("medium", 4), ("high", 6)])
def test_one_value_of_a_choice_is_likelier_than_the_others(confidence: str, weight: int) -> None:
    found = logs([{"kind": kind, "flag": False} for kind in "abc"], priors={"kind": Prior("b", confidence)})
    unit = 3 / (weight + 2)
    np.testing.assert_allclose(found, [mixed(unit), mixed(weight * unit), mixed(unit)])


def test_a_parameter_that_does_not_exist_counts_nothing() -> None:
    base = {"lr": 1e-4, "layers": 2, "kind": "a"}
    without, neither, all_three = logs(
        [
            base | {"flag": False},
            base | {"flag": True, "heads": 4},
            base | {"flag": True, "heads": 2, "tau": 0.9},
        ]
    )
    assert neither - without == pytest.approx(mixed(3 / 8))
    tau = stats.truncnorm(-0.9 / 0.25, 0.1 / 0.25, loc=0.9, scale=0.25).pdf(0.9)
    assert all_three - without == pytest.approx(mixed(6 * 3 / 8) + mixed(tau))


def test_the_density_over_a_whole_space_is_one_in_the_mean() -> None:
    vectors = Encoder(SPACE, CONDITIONS).sample(np.random.default_rng(0), 200_000)
    assert np.exp(density().log(vectors)).mean() == pytest.approx(1.0, abs=0.02)


def test_its_gradient_is_that_of_finite_differences() -> None:
    belief, encoder = density().to_power(0.3), Encoder(SPACE, CONDITIONS)
    for vector in encoder.sample(np.random.default_rng(1), 20):
        gradient = belief.log_gradient(vector)
        steps = 1e-6 * np.eye(len(vector))[encoder.continuous]
        differences = (belief.log(vector + steps) - belief.log(vector - steps)) / 2e-6
        np.testing.assert_allclose(gradient[encoder.continuous], differences, rtol=1e-4, atol=1e-6)
        assert not gradient[~encoder.continuous].any()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], 1.0),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 0.0),
        ([3.0, 3.0, 3.0, 3.0, 3.0], 1.0),
        ([1.0, 5.0, 4.0, 3.0, 2.0], 1.0),  # a rank correlation of 0
        ([2.0, 5.0, 4.0, 3.0, 1.0], 0.2),  # -.4
    ],
)
def test_scores_that_contradict_a_density_take_its_power(scores: list[float], expected: float) -> None:
    assert agreement(np.arange(5.0), np.array(scores)) == pytest.approx(expected)


def test_draws_are_valid_and_as_frequent_as_their_density_says() -> None:
    encoder = Encoder(SPACE, CONDITIONS)
    vectors = density().sample(np.random.default_rng(0), 4000)
    configurations = [encoder.decode(vector) for vector in vectors]
    np.testing.assert_allclose(encoder.impute(encoder.encode(configurations)), vectors, atol=1e-9)
    kinds = Counter(params["kind"] for params in configurations)
    assert kinds["b"] / 4000 == pytest.approx(4 / 6, abs=0.03)
    positions = (np.log10([params["lr"] for params in configurations]) + 5) / 4
    ends = (np.array([0, 1]) - 0.75) / 0.125
    assert stats.kstest(positions, stats.truncnorm(*ends, loc=0.75, scale=0.125).cdf).pvalue > 0.01
    layers = Counter(params["layers"] for params in configurations)
    assert min(layers.values()) > 0.8 * 4000 / 6, "has no prior"


def test_an_integer_is_drawn_with_the_probability_of_its_cell() -> None:
    space = {"n": IntDistribution(1, 4)}
    belief = PriorDensity(Encoder(space, {}), space, {"n": Prior(4, "medium")})
    encoder = Encoder(space, {})
    drawn = Counter(encoder.decode(vector)["n"] for vector in belief.sample(np.random.default_rng(0), 4000))
    ends = (np.array([0, 1]) - 0.875) / 0.25
    cells = np.diff(stats.truncnorm(*ends, loc=0.875, scale=0.25).cdf([0, 0.25, 0.5, 0.75, 1]))
    np.testing.assert_allclose([drawn[n] / 4000 for n in (1, 2, 3, 4)], cells, atol=0.03)


def test_the_middle_of_the_shares_is_the_median_of_the_belief() -> None:
    params = {"lr": 1e-5, "layers": 3, "kind": "a", "flag": True, "heads": 1, "tau": 0.1}
    found = density().at(params, dict.fromkeys(SPACE, 0.5))
    assert {name: found[name] for name in ("layers", "flag")} == {"layers": 3, "flag": True}
    assert found["lr"] == pytest.approx(1e-2, rel=0.1)
    assert (found["kind"], found["heads"]) == ("b", 2)


@pytest.mark.parametrize(
    ("name", "prior", "sentence"),
    [
        ("lr", Prior(0.5), "prior of lr: 0.5 is not a number from 1e-05 to 0.1"),
        ("lr", Prior("much"), "prior of lr: 'much' is not a number"),
        ("layers", Prior(True), "prior of layers: True is not a number"),
        ("kind", Prior("d"), "prior of kind: 'd' is not one of 'a', 'b', 'c'"),
        ("flag", Prior(1), "prior of flag: 1 is not one of True, False"),
    ],
)
def test_a_value_that_a_parameter_cannot_take_is_refused(name: str, prior: Prior, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        density({name: prior})


def test_an_unknown_confidence_is_refused() -> None:
    with pytest.raises(UserError, match=r"^'sure' is not one of low, medium, high$"):
        Prior(1, "sure")


def test_the_sampler_of_priors_draws_every_parameter() -> None:
    study = optuna.create_study()
    trial = study.ask()
    frozen = study.get_trials(deepcopy=False)[trial.number]
    drawn = [
        PriorSampler(seed, CONDITIONS, PRIORS).sample_relative(study, frozen, SPACE) for seed in range(40)
    ]
    assert all(params.keys() == SPACE.keys() for params in drawn)
    assert 18 < sum(params["kind"] == "b" for params in drawn) < 36
    assert drawn[0] == PriorSampler(0, CONDITIONS, PRIORS).sample_relative(study, frozen, SPACE)
