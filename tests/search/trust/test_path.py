"""The path from one configuration to another: one change at a time, the best predicted one next."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from search.space.space import Space
from search.trust.path import ablation_path, changed, changes_between, simplest_in_words
from tests.helpers.run_folders import make_plan

START = {"lr": 0.01, "num_L": 1, "use_gumbel": False}
END = {"lr": 0.02, "num_L": 2, "use_gumbel": True, "tau": 0.3}


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return make_plan(tmp_path).space


def test_the_change_that_is_predicted_to_gain_most_comes_next(space: Space) -> None:
    gains = {"lr": 1, "num_L": 5, "use_gumbel": 3}

    def predict(configurations):
        return [
            sum(gain for name, gain in gains.items() if params[name] == END[name])
            for params in configurations
        ]

    path = ablation_path(space, START, END, predict)
    assert path[0] == START
    assert path[-1] == END
    steps = [[*changes_between(*pair)] for pair in itertools.pairwise(path)]
    assert steps == [["num_L"], ["use_gumbel", "tau"], ["lr"]]


@pytest.mark.parametrize(("start", "end"), [(START, END), (END, START), (END, {**END, "tau": 0.9})])
def test_every_configuration_is_one_of_the_space_and_the_end_is_reached(space: Space, start, end) -> None:
    path = ablation_path(space, start, end, lambda configurations: [0.0] * len(configurations))
    assert path[-1] == end
    for params in path:
        assert set(params) == {
            name for name, parameter in space.parameters.items() if parameter.active(params)
        }
        assert all(space.parameters[name].contains(value) for name, value in params.items())
        space.config(params, 0)


def test_equal_configurations_have_no_path_between_them(space: Space) -> None:
    assert ablation_path(space, START, dict(START), lambda configurations: []) == [START]


def test_a_parameter_that_neither_end_has_gets_a_valid_value(space: Space) -> None:
    params = changed(space, START, {**START, "use_gumbel": True}, "use_gumbel")
    assert space.parameters["tau"].contains(params["tau"])
    assert changes_between(START, params)["tau"] == (None, params["tau"])


def test_the_simplest_configuration_is_named() -> None:
    assert "is the baseline itself; the winner has 3 changes." in simplest_in_words(0, 3)
    assert "is the one after 1 change; the winner has 3 changes." in simplest_in_words(1, 3)
    assert "the last change is needed" in simplest_in_words(3, 3)
    assert "not known" in simplest_in_words(None, 3)
