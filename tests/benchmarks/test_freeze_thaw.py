"""Trials that are stopped by predicted ends, or paused, in simulated searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.efficiency import freeze_thaw
from benchmarks.efficiency.freeze_thaw import ForecastingSampler, FreezeThaw, chance
from benchmarks.efficiency.simulator import Curve, Epoch, Limits, SimulationResult, simulate
from search.samplers.imputed_scores import PredictedScore
from search.space.schedule import Schedule
from search.space.space import Space
from tests.helpers.objectives import EPOCHS, OPTIMUM, make_space, objective


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return replace(make_space(tmp_path_factory.mktemp("space")), schedule=Schedule("asha", grace=3))


def search(space: Space, workers: int = 1, seconds: float = 700.0, **options: bool) -> SimulationResult:
    method = FreezeThaw(space, 0, lambda config: 1 + config.num_L / 2, 100, **options)
    return simulate(method, objective, workers=workers, limits=Limits(seconds=seconds))


def lengths(result: SimulationResult) -> list[int]:
    return [len(scores) for scores in result.scores.values()]


@pytest.mark.parametrize("options", [{}, {"thaw": False}, {"predicted": False}])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_uses_its_budget_improves_and_repeats_itself(
    options: dict[str, bool], workers: int, space: Space
) -> None:
    result = search(space, workers, **options)
    assert 600 < result.seconds <= 700
    assert result.best > OPTIMUM - 0.2
    assert search(space, workers, **options).best == result.best


def test_trials_that_are_stopped_stay_at_a_rung(space: Space) -> None:
    found = lengths(search(space, thaw=False))
    assert {3, 9, EPOCHS} >= set(found[:-1])  # the end of the study cuts the last one off
    assert found.count(3) > len(found) / 3


def with_forecasts(monkeypatch: pytest.MonkeyPatch, above: float) -> None:
    """The sampler expects all of its proposals to end by so much above the best score."""

    class Sampler(ForecastingSampler):
        def sample_relative(self, *args: Any) -> dict[str, Any]:
            params = super().sample_relative(*args)
            if self.forecast is not None:
                expected = self.forecast.incumbent + above
                self.forecast = self.forecast._replace(score=expected, variance=1e-9)
            return params

    monkeypatch.setattr(freeze_thaw, "ForecastingSampler", Sampler)


def thawed(result: SimulationResult) -> list[str]:
    """The trials with an epoch after the first one of a later trial; with one worker, they were paused."""
    first, last = ([scores[index][0] for scores in result.scores.values() if scores] for index in (0, -1))
    return [trial for trial, end, later in zip(result.scores, last, first[1:], strict=False) if end > later]


def test_a_paused_trial_that_promises_more_than_a_new_one_goes_on(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_forecasts(monkeypatch, above=-1.0)
    result = search(space, seconds=600.0)
    assert thawed(result)
    assert all(len(result.scores[trial]) in (9, EPOCHS) for trial in thawed(result)[:-1])


def test_a_paused_trial_that_promises_less_stays_paused(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_forecasts(monkeypatch, above=1.0)
    assert thawed(search(space, seconds=600.0)) == []


def slow_or_quick(config: Mapping[str, Any]) -> Curve:
    """Small learning rates start slowly, and end higher."""
    limit = 0.8 if config["lr"] < 1e-3 else 0.6
    steps = (config["lr"] / 2e-4) ** 0.9
    return [Epoch(limit * (1 - 2.0 ** (-epoch * steps / 9)), 1.0) for epoch in range(1, EPOCHS + 1)]


def complete_slow_trials(space: Space, predicted: bool) -> int:
    method = FreezeThaw(space, 0, lambda config: 1.0, 100, predicted=predicted, thaw=False)
    result = simulate(method, slow_or_quick, workers=1, limits=Limits(epochs=300))
    slow = [trial for trial, config in result.configs.items() if 2e-4 < config["lr"] < 1e-3]
    return sum(len(result.scores[trial]) == EPOCHS for trial in slow)


def test_slow_starters_go_on_where_their_ends_are_predicted(space: Space) -> None:
    assert complete_slow_trials(space, predicted=True) > complete_slow_trials(space, predicted=False)


def test_the_chance_to_end_best_is_that_of_the_normal_distribution() -> None:
    assert chance(PredictedScore(0.5, 0.01), 0.5) == pytest.approx(0.5)
    assert chance(PredictedScore(0.5, 0.01), 0.6) == pytest.approx(0.15866, abs=1e-5)
    assert chance(PredictedScore(0.5), 0.6) == 0.0
