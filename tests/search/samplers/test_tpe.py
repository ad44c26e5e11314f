"""tpe: its densities are those of Optuna, its values are valid, and which trials count as good."""

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights
from optuna.trial import TrialState, create_trial

from search.samplers.encoding import UnitRange
from search.samplers.tpe import ParzenMixture, UnivariateTPESampler, _choice_probabilities

RANGES = {
    "float": FloatDistribution(-1.0, 2.0),
    "log": FloatDistribution(1e-5, 1e-1, log=True),
    "step": FloatDistribution(0.0, 0.6, step=0.1),
    "int": IntDistribution(1, 6),
    "int in steps": IntDistribution(4, 64, step=4),
    "log int": IntDistribution(1, 64, log=True),
}


def drawn(distribution: BaseDistribution, count: int) -> list[float]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=count))
    return [study.ask({"x": distribution}).params["x"] for _ in range(count)]


def optunas(distribution: BaseDistribution, observed: np.ndarray) -> _ParzenEstimator:
    parameters = _ParzenEstimatorParameters(1.0, True, False, default_weights, False)
    return _ParzenEstimator({"x": observed}, {"x": distribution}, parameters)


# Of equal observations it is chance which one gets which width; up to 25 they weigh the same.
@pytest.mark.parametrize(
    ("name", "count"),
    [*((name, count) for name in RANGES for count in (0, 1, 2, 7, 25)), ("float", 80), ("log", 80)],
)
def test_densities_are_those_of_optuna(name: str, count: int) -> None:
    distribution = RANGES[name]
    observed, asked = drawn(distribution, count), drawn(distribution, 50)
    scale = UnitRange(distribution)
    positions = scale.encode(asked)
    ours = ParzenMixture(scale.encode(observed)).log_density(positions, scale.cells(positions))
    theirs = optunas(distribution, np.array(observed, dtype=float)).log_pdf({"x": np.array(asked)})
    # Optuna's densities are those of the number, or of its logarithm; probabilities of cells are the same.
    if name == "float":
        theirs = theirs + np.log(3.0)
    if name == "log":
        theirs = theirs + np.log(np.log(1e4))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_probabilities_of_choices_are_those_of_optuna(count: int) -> None:
    distribution = CategoricalDistribution(["a", "b", "c"])
    observed = [index % 2 for index in range(count)]
    theirs = optunas(distribution, np.array(observed, dtype=float)).log_pdf({"x": np.arange(3.0)})
    np.testing.assert_allclose(_choice_probabilities(observed, 3), np.exp(theirs), rtol=1e-9)


@pytest.mark.parametrize("name", RANGES)
def test_samples_follow_their_density(name: str) -> None:
    distribution = RANGES[name]
    scale = UnitRange(distribution)
    mixture = ParzenMixture(scale.encode(drawn(distribution, 5)))
    positions = scale.snap(mixture.sample(np.random.default_rng(0), 20_000))
    for value in (scale.decode(float(position)) for position in positions[:200]):
        assert distribution._contains(value)
        assert isinstance(value, int) == isinstance(distribution, IntDistribution)
    if scale.cells(positions) is not None:
        centres, counts = np.unique(positions.round(9), return_counts=True)
        probabilities = np.exp(mixture.log_density(centres, scale.cells(centres)))
        np.testing.assert_allclose(counts / len(positions), probabilities, atol=0.015)
    else:
        bins = np.linspace(0, 1, 21)
        share = np.histogram(positions, bins)[0] / len(positions)
        middle = np.linspace(0, 1, 2001)[:-1] + 1 / 4000
        density = np.exp(mixture.log_density(middle, None)).reshape(20, 100).mean(axis=1) / 20
        np.testing.assert_allclose(share, density, atol=0.015)


def study_of(*trials: optuna.trial.FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def test_it_proposes_values_of_good_trials_away_from_running_ones() -> None:
    space = {"x": FloatDistribution(0.0, 1.0), "kind": CategoricalDistribution(["good", "bad"])}
    trials = [
        create_trial(
            value=float(number % 10 == 0),
            params={
                "x": 0.8 if number % 10 == 0 else number / 40,
                "kind": "good" if number % 10 == 0 else "bad",
            },
            distributions=space,
        )
        for number in range(40)
    ]
    running = [
        create_trial(state=TrialState.RUNNING, params={"x": 0.8, "kind": "good"}, distributions=space)
    ] * 150

    def proposed(study: optuna.Study) -> tuple[float, float]:
        trial = study.ask()
        frozen = study.get_trials(deepcopy=False)[trial.number]
        proposals = [
            UnivariateTPESampler(seed, good_share=0.1).sample_relative(study, frozen, space)
            for seed in range(300)
        ]
        distance = np.median([abs(params["x"] - 0.8) for params in proposals])
        return float(distance), float(np.mean([params["kind"] == "good" for params in proposals]))

    alone, beside = proposed(study_of(*trials)), proposed(study_of(*trials, *running))
    assert alone[0] < 0.06
    assert alone[1] > 0.9
    assert beside[0] > 1.25 * alone[0]


def test_parameters_that_few_trials_have_are_proposed_too() -> None:
    x, rare = FloatDistribution(0.0, 1.0), IntDistribution(1, 3)
    trials = [create_trial(value=0.1 * n, params={"x": 0.5}, distributions={"x": x}) for n in range(12)]
    study = study_of(*trials)
    number = study.ask().number
    trial = study.get_trials(deepcopy=False)[number]
    params = UnivariateTPESampler(0).sample_relative(study, trial, {"x": x, "rare": rare})
    assert params["rare"] in (1, 2, 3)
    assert UnivariateTPESampler(0, startup=13).sample_relative(study, trial, {"x": x}) == {}
