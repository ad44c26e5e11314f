"""Baselines in the simulator, and the surrogate of learning curves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.efficiency.baselines import BASELINES, OneEpochThenBest
from benchmarks.efficiency.simulator import Limits, SimulationResult, simulate
from benchmarks.efficiency.surrogate import (
    MODELS,
    CurveTable,
    Surrogate,
    folds,
    prediction_errors,
    predictions,
)
from search.space.space import Space
from tests.helpers.objectives import (
    BEST,
    EPOCHS,
    OPTIMUM,
    make_space,
    make_table,
    objective,
)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return make_space(tmp_path_factory.mktemp("space"))


@pytest.fixture(scope="module")
def table(space: Space) -> CurveTable:
    return make_table(space)


@pytest.fixture(scope="module")
def surrogate(space: Space, table: CurveTable) -> Surrogate:
    return Surrogate(space, table)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("workers", [1, 3])
def test_every_baseline_uses_its_budget_and_improves(name: str, workers: int, space: Space) -> None:
    method = BASELINES[name](space, workers, 0)
    result = simulate(method, objective, workers=workers, limits=Limits(seconds=1500.0))
    assert 1400 < result.seconds <= 1500
    assert result.best > OPTIMUM - 0.3
    again = simulate(
        BASELINES[name](space, workers, 0), objective, workers=workers, limits=Limits(seconds=1500.0)
    )
    assert again.best == result.best


def test_one_epoch_for_all_then_the_best_to_the_last_epoch(space: Space) -> None:
    method = OneEpochThenBest(space, seed=0, screened=8, promoted=2)
    result = simulate(method, objective, workers=1, limits=Limits(epochs=8 + 2 * (EPOCHS - 1)))
    first = {trial: epochs[0][1] for trial, epochs in result.scores.items() if epochs}
    complete = [trial for trial, epochs in result.scores.items() if len(epochs) == EPOCHS]
    assert len(first) == 8
    assert sorted(complete) == sorted(sorted(first, key=lambda trial: -first[trial])[:2])


def test_the_best_trials_at_a_time_are_ranked_by_their_scores_until_then() -> None:
    scores = {"a": [(1.0, 0.2), (2.0, 0.9)], "b": [(1.0, 0.5)], "c": [(3.0, 1.0)]}
    result = SimulationResult((), 3.0, 4, {}, scores)
    assert result.best_trials_at(1.5, 5) == ["b", "a"]
    assert result.best_trials_at(3.0, 2) == ["c", "a"]


@pytest.mark.parametrize("model", MODELS)
def test_the_surrogate_ranks_held_out_configurations(model: str, space: Space, table: CurveTable) -> None:
    parts = list(folds(table, 3))
    assert all(not set(train.numbers) & set(held_out.numbers) for train, held_out in parts)
    assert sum(len(held_out.numbers) for _, held_out in parts) == len(table.numbers) == 110
    frames = [predictions(space, train, held_out, model) for train, held_out in parts]
    error = prediction_errors(pd.concat(frames))
    assert error["rank_correlation"] > 0.8
    assert error["rmse"] < 0.6 * error["spread"]
    assert error["seconds"] < 1.2


def test_no_prediction_exceeds_the_best_real_score_of_its_epoch(
    space: Space, table: CurveTable, surrogate: Surrogate
) -> None:
    """The best configuration is far better than any in the table; the trend says so, trees cannot."""
    best = {name: BEST[name] for name in space.parameters}
    highest = table.scores.max(axis=0)
    assert (surrogate.mean(best) <= highest).all()
    assert Surrogate(space, table, "forest").mean(best)[-1] < surrogate.mean(best)[-1] <= OPTIMUM


def test_seed_noise_is_that_of_configurations_with_like_curves(
    space: Space, table: CurveTable, surrogate: Surrogate
) -> None:
    steady, wild = np.zeros_like(table.scores[:20]), np.full_like(table.scores[:20], 0.05)
    config = {"tau": 1.0} | dict(table.params[0])
    near = np.tile(surrogate.mean(table.params[0]), (20, 1))
    deviations, repeated = np.concatenate([wild, steady]), np.concatenate([near + 0.2, near])
    mixed = replace(table, deviations=deviations, repeated=repeated)
    curve = Surrogate(space, mixed).curve(config, study=3)
    assert [epoch.score for epoch in curve] == pytest.approx(surrogate.mean(table.params[0]).tolist())


def test_seconds_of_a_slower_machine_are_corrected(
    space: Space, table: CurveTable, surrogate: Surrogate
) -> None:
    slow = np.arange(len(table.numbers)) % 3 == 0
    mixed = replace(table, seconds=np.where(slow, 2.0, 1.0) * table.seconds, blocks=np.where(slow, 0, 1))
    corrected = Surrogate(space, mixed, "forest")
    ratios = [corrected.seconds(params) / surrogate.seconds(params) for params in table.params[:30]]
    assert np.allclose(ratios, 1.0, atol=0.1)


def test_a_configuration_has_one_curve_per_study(surrogate: Surrogate) -> None:
    config = BEST | {"backbone": "GAT", "use_gumbel": False}
    curve = surrogate.curve(config, study=1)
    assert surrogate.curve(config | {"tau": 0.9}, study=1) == curve  # tau does not exist here
    others = [surrogate.curve(config, study=number) for number in range(20)]
    assert any(other != curve for other in others)
    spread = np.std([[epoch.score for epoch in other] for other in others], axis=0)
    assert 0 < spread.mean() < 0.02
    assert len(curve) == EPOCHS
