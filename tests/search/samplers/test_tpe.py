"""tpe: it proposes values of good trials, away from running ones, and learns about conditional parameters."""

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.samplers import TPESampler
from search.samplers.tpe import ConditionalTPESampler, make_multivariate

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0),
    "kind": CategoricalDistribution(["good", "bad"]),
}


def study_of(*trials: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def proposed(study: optuna.Study, count: int = 60) -> Sequence[dict]:
    number = study.ask().number
    trial = study.get_trials(deepcopy=False)[number]
    return [make_multivariate(seed).sample_relative(study, trial, SPACE) for seed in range(count)]


def test_it_proposes_values_of_good_trials_away_from_running_ones() -> None:
    good = {"x": 0.8, "kind": "good"}
    trials = [
        create_trial(
            value=float(number % 10 == 0),
            params=good if number % 10 == 0 else {"x": number / 40, "kind": "bad"},
            distributions=SPACE,
        )
        for number in range(40)
    ]
    running = [create_trial(state=TrialState.RUNNING, params=good, distributions=SPACE)] * 150

    def distance(proposals: Sequence[dict]) -> float:
        return float(np.median([abs(params["x"] - 0.8) for params in proposals]))

    alone, beside = proposed(study_of(*trials)), proposed(study_of(*trials, *running))
    assert distance(alone) < 0.1
    assert np.mean([params["kind"] == "good" for params in alone]) > 0.8
    assert distance(beside) > 1.25 * distance(alone)


def test_parameters_with_and_without_a_condition_are_learned_from_the_trials_that_have_them() -> None:
    space = {
        "x": FloatDistribution(0.0, 1.0),
        "kind": CategoricalDistribution(["plain", "curved"]),
        "rare": IntDistribution(1, 30),
    }
    trials = []
    for number in range(40):
        params = {"x": number / 40, "kind": "curved" if number % 2 else "plain"}
        params |= {"rare": 1 + number % 30} if number % 2 else {}
        value = -abs(params["x"] - 0.7) - (abs(params["rare"] - 20) / 30 if number % 2 else 0.5)
        trials.append(
            create_trial(value=value, params=params, distributions={name: space[name] for name in params})
        )
    study = study_of(*trials)
    number = study.ask().number
    trial = study.get_trials(deepcopy=False)[number]
    conditions = {"rare": {"kind": ["curved"]}}
    proposals = [
        ConditionalTPESampler(seed, conditions).sample_relative(study, trial, space) for seed in range(60)
    ]
    assert all(set(params) == set(space) for params in proposals)
    assert np.median([abs(params["x"] - 0.7) for params in proposals]) < 0.2
    assert np.median([abs(params["rare"] - 20) for params in proposals]) < 6


def test_the_same_seed_proposes_the_same() -> None:
    def run() -> list[dict]:
        study = optuna.create_study(sampler=TPESampler(seed=3))
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1) ** 2, n_trials=15)
        return [trial.params for trial in study.trials]

    assert run() == run()
