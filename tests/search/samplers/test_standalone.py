"""Our samplers pass Optuna's own conformance suite, and serve any Optuna study."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from rigsl.errors import UserError
from search.samplers import GPSampler, Prior, TPESampler
from search.samplers.standalone import observed_conditions


class TestGPSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    """Optuna's suite on gp, which proposes from the first ended trial on."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: GPSampler(seed=0, startup=1)


class TestTPESampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    """Optuna's suite on tpe."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: TPESampler(seed=0, n_startup_trials=1)


def test_conditions_are_found_by_the_trials_of_the_study() -> None:
    plain = [{"lr": 0.1, "kind": "plain"}, {"lr": 0.2, "kind": "plain"}]
    curved = [{"lr": 0.3, "kind": "curved", "x": 0.1}, {"lr": 0.4, "kind": "steep", "x": 0.2}]
    assert observed_conditions([*plain, *curved, {}], ["kind"]) == {"x": {"kind": ["curved", "steep"]}}
    assert observed_conditions(curved, ["kind"]) == {}
    assert observed_conditions([*plain, *curved, {"lr": 0.1, "kind": "steep"}], ["kind"]) == {}


def conditional(trial: optuna.Trial) -> float:
    """0 at its best, with a parameter that only one of two choices has."""
    if trial.suggest_categorical("kind", ["plain", "curved"]) == "plain":
        return 0.5
    return (trial.suggest_float("x", -1, 1) - 0.3) ** 2 + (trial.suggest_float("y", -1, 1) + 0.6) ** 2


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_gp_finds_the_optimum_of_a_conditional_space_in_both_directions(direction: str, sign: int) -> None:
    study = optuna.create_study(direction=direction, sampler=GPSampler(seed=1))
    study.optimize(lambda trial: sign * conditional(trial), n_trials=30)
    assert sign * study.best_value < 0.01


@pytest.mark.parametrize("make", [GPSampler, TPESampler])
def test_a_study_that_minimises_proposes_what_one_that_maximises_does(
    make: Callable[..., BaseSampler],
) -> None:
    def proposals(direction: str, sign: int) -> list[float]:
        study = optuna.create_study(direction=direction, sampler=make(seed=1))
        study.optimize(lambda trial: sign * (trial.suggest_float("x", -1, 1) - 0.3) ** 2, n_trials=40)
        return [trial.params["x"] for trial in study.trials]

    found = proposals("minimize", 1)
    assert found == proposals("maximize", -1)
    far = [abs(x - 0.3) for x in found]
    assert sum(far[20:]) < 0.7 * sum(far[:20])


def test_the_same_seed_proposes_the_same() -> None:
    def run() -> list[dict]:
        study = optuna.create_study(sampler=GPSampler(seed=3))
        study.optimize(conditional, n_trials=12)
        return [trial.params for trial in study.trials]

    assert run() == run()


def test_gp_knows_what_is_believed_in_any_study() -> None:
    """The prior names the better choice and lies near the optimum of a parameter that only it has."""
    priors = {"kind": Prior("curved", "high"), "x": Prior(0.25, "high")}
    studies = {}
    for believed in (None, priors):
        found = studies[believed is None] = []
        for seed in range(4):
            study = optuna.create_study(sampler=GPSampler(seed=seed, priors=believed))
            study.optimize(conditional, n_trials=12)
            found.append(study)
    first = [study.trials[0].params for study in studies[False]]
    assert sum(params["kind"] == "curved" for params in first) >= 3
    far = {
        key: np.mean(
            [abs(trial.params["x"] - 0.3) for study in found for trial in study.trials if "x" in trial.params]
        )
        for key, found in studies.items()
    }
    assert far[False] < 0.8 * far[True]


def test_a_prior_outside_the_range_is_refused_when_the_range_is_known() -> None:
    study = optuna.create_study(sampler=GPSampler(seed=0, priors={"x": Prior(3.0)}))
    with pytest.raises(UserError, match=r"^prior of x: 3.0 is not a number from -1 to 1$"):
        study.ask({"x": FloatDistribution(-1, 1)})
