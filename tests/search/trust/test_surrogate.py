"""The leave-one-out fit: high where scores follow from hyperparameters, about 0 where they are noise."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.record import record
from search.samplers.parameter_groups import distributions
from search.space.space import Space
from search.trust.surrogate import MIN_TRIALS, surrogate_fit
from tests.helpers.run_folders import make_plan, make_study


@pytest.fixture
def space(tmp_path) -> Space:
    return make_plan(tmp_path).space


def study_of(space: Space, scores, rate=None) -> optuna.Study:
    """Trials whose scores are a function of lr on a log scale, and of a random number."""
    study, rng = optuna.create_study(direction="maximize"), np.random.default_rng(0)
    varied = {"lr": distributions(space)["lr"]}
    for log_rate, noise in rng.random((40, 2)):
        params = {"lr": 10 ** (-4 + 3 * log_rate)}
        value = scores(log_rate, noise)
        study.add_trial(create_trial(params=params, distributions=varied, value=value))
    return study


def test_scores_that_follow_from_hyperparameters_are_predicted(space: Space) -> None:
    fit = surrogate_fit(study_of(space, lambda rate, noise: 0.5 - (rate - 0.4) ** 2 + 0.002 * noise), space)
    assert fit is not None
    assert fit.trials == 40
    assert fit.correlation > 0.9
    assert fit.better_half > 0.7
    assert fit.gain < 0.01


def test_scores_that_are_noise_are_not(space: Space) -> None:
    fit = surrogate_fit(study_of(space, lambda rate, noise: noise), space)
    assert fit is not None
    assert fit.correlation < 0.4


def test_an_untried_better_configuration_is_a_gain(space: Space) -> None:
    fit = surrogate_fit(study_of(space, lambda rate, noise: 0.5 + 0.1 * min(rate, 0.6)), space)
    rising = study_of(space, lambda rate, noise: 0.5 + 0.1 * rate)
    study = optuna.create_study(direction="maximize")
    study.add_trials([trial for trial in rising.trials if trial.params["lr"] < 10**-2.2])
    more = surrogate_fit(study, space)
    assert fit is not None
    assert more is not None
    assert more.gain > max(0.01, 2 * fit.gain)


def test_pruned_trials_count_and_few_or_equal_scores_say_nothing(tmp_path) -> None:
    plan = make_plan(tmp_path, "with pruned")
    study = make_study(plan, "cpcpfcrpcpcppcpccpcpcpcpcpc")
    fit = surrogate_fit(study, plan.space)
    assert fit is not None
    assert fit.trials == len(record.scored(study)) >= MIN_TRIALS
    assert any(trial.state == TrialState.PRUNED for trial in study.trials)
    few = make_plan(tmp_path, "few")
    assert surrogate_fit(make_study(few, "ccpc"), few.space) is None
    assert surrogate_fit(study_of(plan.space, lambda rate, noise: 0.5), plan.space) is None
