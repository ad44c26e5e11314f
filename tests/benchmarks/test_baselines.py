"""The methods that ours is compared with run in the simulator, and the surrogate's curves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.efficiency.baselines import RIVALS, OneEpochThenBest
from benchmarks.efficiency.simulator import Limits, Outcome, simulate
from benchmarks.efficiency.surrogate import (
    MODELS,
    Surrogate,
    Table,
    errors,
    folds,
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
def table(space: Space) -> Table:
    return make_table(space)


@pytest.fixture(scope="module")
def surrogate(space: Space, table: Table) -> Surrogate:
    return Surrogate(space, table)


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("workers", [1, 3])
def test_every_rival_uses_its_time_and_finds_something(name: str, workers: int, space: Space) -> None:
    method = RIVALS[name](space, workers, 0)
    outcome = simulate(method, objective, workers=workers, limits=Limits(seconds=1500.0))
    assert 1400 < outcome.seconds <= 1500
    assert outcome.best > OPTIMUM - 0.3
    again = simulate(
        RIVALS[name](space, workers, 0), objective, workers=workers, limits=Limits(seconds=1500.0)
    )
    assert again.best == outcome.best


def test_one_epoch_for_all_and_then_the_best_to_their_end(space: Space) -> None:
    method = OneEpochThenBest(space, seed=0, many=8, few=2)
    outcome = simulate(method, objective, workers=1, limits=Limits(epochs=8 + 2 * (EPOCHS - 1)))
    first = {trial: epochs[0][1] for trial, epochs in outcome.scores.items() if epochs}
    whole = [trial for trial, epochs in outcome.scores.items() if len(epochs) == EPOCHS]
    assert len(first) == 8
    assert sorted(whole) == sorted(sorted(first, key=lambda trial: -first[trial])[:2])


def test_leaders_are_those_of_their_time() -> None:
    scores = {"a": [(1.0, 0.2), (2.0, 0.9)], "b": [(1.0, 0.5)], "c": [(3.0, 1.0)]}
    outcome = Outcome((), 3.0, 4, {}, scores)
    assert outcome.leaders_at(1.5, 5) == ["b", "a"]
    assert outcome.leaders_at(3.0, 2) == ["c", "a"]


@pytest.mark.parametrize("model", MODELS)
def test_the_surrogate_orders_configurations_that_it_has_not_seen(
    model: str, space: Space, table: Table
) -> None:
    parts = list(folds(table, 3))
    assert all(not set(kept.numbers) & set(left.numbers) for kept, left in parts)
    assert sum(len(left.numbers) for _, left in parts) == len(table.numbers) == 110
    error = errors(pd.concat([predictions(space, kept, left, model) for kept, left in parts]))
    assert error["rank"] > 0.8
    assert error["rmse"] < 0.6 * error["spread"]
    assert error["seconds"] < 1.2


def test_processes_go_above_the_best_that_they_have_seen(
    space: Space, table: Table, surrogate: Surrogate
) -> None:
    """The best configuration is far better than any of the table; trees cannot say so."""
    best = {name: BEST[name] for name in space.parameters}
    seen = table.scores.max()
    assert Surrogate(space, table, "forest").mean(best).max() < seen
    assert abs(surrogate.mean(best).max() - OPTIMUM) < OPTIMUM - seen


def test_seconds_of_other_machines_are_brought_to_the_same(
    space: Space, table: Table, surrogate: Surrogate
) -> None:
    slow = np.arange(len(table.numbers)) % 3 == 0
    mixed = replace(table, seconds=np.where(slow, 2.0, 1.0) * table.seconds, blocks=np.where(slow, 0, 1))
    found = Surrogate(space, mixed, "forest")
    ratios = [found.seconds(params) / surrogate.seconds(params) for params in table.params[:30]]
    assert np.allclose(ratios, 1.0, atol=0.1)


def test_a_configuration_has_one_curve_a_study(surrogate: Surrogate) -> None:
    config = BEST | {"backbone": "GAT", "use_gumbel": False}
    curve = surrogate.curve(config, study=1)
    assert surrogate.curve(config | {"tau": 0.9}, study=1) == curve  # tau does not exist here
    others = [surrogate.curve(config, study=number) for number in range(20)]
    assert any(other != curve for other in others)
    spread = np.std([[epoch.score for epoch in other] for other in others], axis=0)
    assert 0 < spread.mean() < 0.02
    assert len(curve) == EPOCHS
