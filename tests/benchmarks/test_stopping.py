"""The comparison of early stopping: its problems, and what it counts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.efficiency import mlp_curves, stopping
from benchmarks.efficiency.mlp_curves import DATA_SETS, SEEDS, grid, mlp_space, train
from benchmarks.efficiency.simulator import CONTINUE, PAUSE, STOP, Assignment, Epoch, SimulationResult
from benchmarks.efficiency.stopping import (
    ASHA,
    HEAD,
    RULES,
    CurveProblem,
    Outcome,
    Watched,
    cells,
    mlp_problem,
    outcome,
    run,
)
from search.record.trial_report import BY_ITSELF, TrialReport


def test_the_table_of_perceptrons_is_that_of_scikit_learn() -> None:
    """Three entries of the committed table are trained again."""
    rng = np.random.default_rng(0)
    for name in DATA_SETS:
        params = grid()[rng.integers(len(grid()))]
        scores, _ = train(name, params, 1, 3)
        problem = mlp_problem(name)
        recorded = [problem.curve(mlp_space().config(params, 0).to_dict(), study) for study in range(20)]
        assert any(
            [epoch.score for epoch in curve[:3]] == pytest.approx(scores, abs=6e-5) for curve in recorded
        )


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_configuration_of_the_grid_has_a_curve(name: str) -> None:
    problem = mlp_problem(name)
    for params in grid()[::37]:
        config = mlp_space().config(params, 0)
        curves = [problem.curve(config.to_dict(), study) for study in range(20)]
        assert all(len(curve) == config.epochs for curve in curves)
        assert 1 <= len({tuple(epoch.score for epoch in curve) for curve in curves}) <= SEEDS
        assert problem.curve(config.to_dict(), 3) == curves[3]
        assert problem.seconds(config) == curves[0][0].seconds > 0


def test_a_training_that_diverges_scores_nothing_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Diverging(mlp_curves.MLPClassifier):  # type: ignore[misc]
        def partial_fit(self, inputs: object, labels: object, classes: object = None) -> None:
            if hasattr(self, "once"):
                raise ValueError("Solver produced non-finite parameter weights.")
            self.once = True
            super().partial_fit(inputs, labels, classes=classes)

    monkeypatch.setattr(mlp_curves, "MLPClassifier", Diverging)
    scores, seconds = train("hastie", grid()[0], 0, 4)
    assert len(scores) == 4
    assert scores[0] > 0
    assert scores[1:] == [0.0] * 3
    assert seconds > 0


class Scripted:
    """Proposes one trial, pauses it once, and stops it the next time."""

    def __init__(self) -> None:
        self.decisions = [CONTINUE, PAUSE, STOP]

    def suggest(self) -> Assignment:
        return Assignment("a", {})

    def report(self, trial: str, report: TrialReport) -> str:
        return self.decisions.pop(0)

    def cut_off(self, reason: str) -> None:
        raise AssertionError


def test_a_trial_that_goes_on_or_ends_by_itself_is_not_stopped() -> None:
    method = Watched(Scripted())
    method.suggest()
    method.report("a", TrialReport(epoch=1, score=0.1))
    assert not method.stopped
    method.report("a", TrialReport(epoch=2, score=0.1))
    assert method.stopped == {"a"}
    method.suggest()
    assert not method.stopped
    method.report("a", TrialReport(epoch=3, score=0.1, ended=BY_ITSELF))
    assert not method.stopped


def test_slow_starters_are_among_the_best_and_were_not_at_the_first_rung() -> None:
    curves = {"quick": [0.4, 0.45, 0.45, 0.5], "slow": [0.1, 0.1, 0.2, 0.6], "poor": [0.2, 0.2, 0.2, 0.3]}
    problem = CurveProblem(
        "made up",
        mlp_space(),
        lambda config, study: [Epoch(score, 1.0) for score in curves[config["trial"]]],
        lambda config: np.array(curves[config["trial"]]),
        lambda config: 1.0,
        1,
        4.0,
        {1: 2.0},
    )
    result = SimulationResult(
        (), 8.0, 8, {trial: {"trial": trial} for trial in curves},
        {"quick": [(4.0, 0.5)], "slow": [(7.0, 0.2)], "poor": [(8.0, 0.2)]},
    )  # fmt: skip
    found = outcome(problem, result, {"slow", "poor"}, 8.0)
    assert (found.slow, found.stopped, found.trials) == (1, 1, 3)
    assert found.finalists == pytest.approx((0.5 + 0.6 + 0.3) / 3)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_searches(name: str) -> None:
    problem = mlp_problem("hastie")
    found = run(problem, name, 1, 0)
    assert list(found.best) == sorted(found.best)
    assert found.best[-1] > 0.5
    assert found.stopped <= found.slow <= found.trials
    if name == "no stopping":
        assert found.stopped == 0


def test_a_table_has_a_row_for_each_rule_with_differences_to_asha() -> None:
    studies = [Outcome((0.4, 0.5, 0.6), 0.55, 4, 1, 20), Outcome((0.4, 0.5, 0.62), 0.55, 4, 0, 22)]
    better = [study._replace(best=(0.4, 0.5, study.best[-1] + 0.01)) for study in studies]
    asha, other = cells({ASHA: studies, "other": better})
    assert len(asha) == len(other) == len(HEAD)
    assert asha[4] == ""
    assert other[4] == "+1.00 (+1.00 to +1.00)"
    assert asha[-1] == "12% of 8"
    assert asha[-2] == "21"
    assert stopping.SHARES == (0.25, 0.5, 1.0)
