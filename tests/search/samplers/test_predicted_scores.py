"""Slow starters end best: they are not stopped, and no near copies of them are proposed."""

from __future__ import annotations

import itertools
import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.schedulers import TrialScheduler

from search.curves.progress import Pace
from search.record import record
from search.samplers.gp_sampler import GaussianProcessSampler
from search.samplers.imputed_scores import with_imputed_scores
from search.samplers.predicted_scores import predicted_scores
from search.schedulers.halving import PredictedHalving
from search.schedulers.recorded_curves import recorded_ends

EPOCHS, DIALOGUES, EMA = 12, 1038, 0.99
SPACE = {
    "batch_size": CategoricalDistribution([8, 16, 32]),
    "lr": FloatDistribution(3e-4, 5e-3, log=True),
    "dropout": FloatDistribution(0.1, 0.6),
    "tau": FloatDistribution(0.05, 1.0, log=True),
    "focal_gamma": FloatDistribution(0.0, 2.0),
    "denoise_dropout": FloatDistribution(0.0, 0.6),
}


def curve(params: dict, epochs: int = EPOCHS) -> list[float]:
    """Large batches with averaged weights start lowest, and end best if the learning rate is high."""
    pace = pace_of(params)
    end = {8: 0.545, 16: 0.555, 32: 0.575}[params["batch_size"]]
    end -= 0.01 * abs(math.log(params["lr"] / 3e-3)) + 0.02 * (params["dropout"] - 0.4) ** 2
    return [end - 0.4 * math.exp(-2.2 * progress) for progress in pace.progress(range(1, epochs + 1))]


def pace_of(params: dict) -> Pace:
    return Pace(EPOCHS, math.ceil(DIALOGUES / params["batch_size"]), params["lr"], EMA)


def trial_of(params: dict, epochs: int = EPOCHS, state: TrialState | None = None) -> FrozenTrial:
    scores = curve(params, epochs)
    state = state or (TrialState.COMPLETE if epochs == EPOCHS else TrialState.PRUNED)
    return create_trial(
        state=state,
        value=scores[-1] if state == TrialState.COMPLETE else None,
        params=params,
        distributions=SPACE,
        intermediate_values=dict(enumerate(scores, start=1)),
        user_attrs={record.PACE: pace_of(params).to_json()},
    )


def configuration(batch_size: int, lr: float, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    others = {"tau": 0.3, "focal_gamma": 2 * rng.random(), "denoise_dropout": 0.6 * rng.random()}
    return {"batch_size": batch_size, "lr": lr, "dropout": 0.1 + 0.5 * rng.random()} | others


@pytest.fixture
def study() -> optuna.Study:
    """Ten whole trainings, of which two are slow starters, and the best."""
    study = optuna.create_study(direction="maximize")
    rates = np.geomspace(1.5e-3, 4e-3, 8)
    quick = [configuration(8 if number % 2 else 16, rate, number) for number, rate in enumerate(rates)]
    study.add_trials(
        [trial_of(params) for params in [*quick, *(configuration(32, rate, 20) for rate in (2.5e-3, 4e-3))]]
    )
    return study


def add_slow_starter(study: optuna.Study, number: int, epochs: int = 1) -> FrozenTrial:
    """A running trial of the kind of the best one."""
    study.add_trial(trial_of(configuration(32, 4.2e-3, 30 + number), epochs, TrialState.RUNNING))
    return study.trials[-1]


def test_a_slow_starter_is_not_stopped_though_its_score_is_the_lowest(study: optuna.Study) -> None:
    slow = add_slow_starter(study, 0)
    own = curve(slow.params)
    at_rung = [trial.intermediate_values[2] for trial in study.trials[:10]]
    assert own[1] < np.quantile(at_rung, 0.3)  # successive halving by scores stops it
    ends = recorded_ends(study, slow.number, 2, own[1])
    assert ends[slow.number].score > np.quantile([trial.value for trial in study.trials[:10]], 2 / 3)
    curves = {trial.number: trial.intermediate_values for trial in study.trials[:10]}
    scheduler = PredictedHalving("score", EPOCHS, 2, 3, 1, 0, curves, partial(recorded_ends, study))
    trial = SimpleNamespace(trial_id="slow", config={"number": slow.number})
    scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, trial, {"epoch": 2, "score": own[1]}) == TrialScheduler.CONTINUE


def test_a_weak_trial_is_stopped(study: optuna.Study) -> None:
    study.add_trial(trial_of(configuration(8, 3e-4, 40), 1, TrialState.RUNNING))
    weak = study.trials[-1]
    curves = {trial.number: trial.intermediate_values for trial in study.trials[:10]}
    scheduler = PredictedHalving("score", EPOCHS, 2, 3, 1, 0, curves, partial(recorded_ends, study))
    trial = SimpleNamespace(trial_id="weak", config={"number": weak.number})
    score = curve(weak.params, 2)[1] - 0.05
    assert scheduler.on_trial_result(None, trial, {"epoch": 2, "score": score}) == TrialScheduler.STOP


def test_stopping_and_proposing_share_one_prediction(study: optuna.Study) -> None:
    add_slow_starter(study, 0, epochs=3)
    study.add_trial(trial_of(configuration(32, 2e-3, 50), 4))
    ends = predicted_scores(study.get_trials(deepcopy=False))
    seen = with_imputed_scores(study, 100).get_trials(deepcopy=False)
    assert seen[-1].value == ends[11].score
    assert recorded_ends(study, 10, 3, study.trials[10].intermediate_values[3])[11].score == pytest.approx(
        ends[11].score, rel=1e-9
    )


def test_ten_proposals_beside_a_slow_starter_are_no_copies_of_it(study: optuna.Study) -> None:
    """Each proposal runs beside the earlier ones, of which every second is stopped after two epochs."""
    for number in range(10):
        trial = study.ask()
        seen = with_imputed_scores(study, 250)
        frozen = study.get_trials(deepcopy=False)[trial.number]
        params = GaussianProcessSampler(number).sample_relative(seen, frozen, SPACE)
        study.tell(trial, state=TrialState.FAIL)
        study.add_trial(trial_of(params, 2, TrialState.PRUNED if number % 2 else TrialState.RUNNING))
    proposed = [
        trial.params for trial in study.trials if trial.state in (TrialState.PRUNED, TrialState.RUNNING)
    ]
    known = [*(trial.params for trial in study.trials[:10]), *proposed]
    for one, other in itertools.combinations(known, 2):
        assert (one not in proposed and other not in proposed) or changed(one, other) >= 2


def changed(one: dict, other: dict) -> int:
    """The number of parameters that differ by a tenth of their range at least, or in their choice."""
    count = int(one["batch_size"] != other["batch_size"])
    for name, entry in SPACE.items():
        if isinstance(entry, FloatDistribution):
            scale = math.log if entry.log else float
            width = scale(entry.high) - scale(entry.low)
            count += abs(scale(one[name]) - scale(other[name])) > 0.1 * width
    return count
