"""The nearest valid value of a range, compared with a search through all of them."""

from typing import Any

import numpy as np
import pytest

from search.space.parameter import Parameter

RANGES = [
    Parameter("num_L", "int", 1, 6),
    Parameter("num_L", "int", 2, 64, log=True),
    Parameter("hidden_dim", "int", 64, 256, step=32),
    Parameter("num_L", "int", -7, 8, step=5),
    Parameter("dropout", "float", 0.0, 0.6, step=0.1),
    Parameter("dropout", "float", 0.1, 0.7, step=0.3),
    Parameter("gamma", "float", -0.95, 1.05, step=0.25),
]


def valid_values(parameter: Parameter) -> list[Any]:
    """Every value of a range of numbers that can be counted."""
    step = parameter.step or 1
    count = round((parameter.high - parameter.low) / step)
    return [min(parameter.low + number * step, parameter.high) for number in range(count + 1)]


@pytest.mark.parametrize(
    "parameter", RANGES, ids=lambda parameter: f"{parameter.name} {parameter.describe()}"
)
def test_clip_gives_the_nearest_of_all_valid_values(parameter: Parameter) -> None:
    valid = valid_values(parameter)
    width = parameter.high - parameter.low
    rng = np.random.default_rng(0)
    for value in [*rng.uniform(parameter.low - width, parameter.high + width, 2000).tolist(), *valid]:
        clipped = parameter.clip(value)
        assert parameter.contains(clipped)
        assert min(abs(clipped - other) for other in valid) < 1e-12
        assert abs(clipped - value) <= min(abs(other - value) for other in valid) + 1e-12


@pytest.mark.parametrize(
    "parameter", RANGES, ids=lambda parameter: f"{parameter.name} {parameter.describe()}"
)
def test_clip_leaves_a_valid_value_as_it_is(parameter: Parameter) -> None:
    for value in valid_values(parameter):
        assert parameter.clip(value) == pytest.approx(value, abs=1e-12)
        assert type(parameter.clip(value)) is (int if parameter.kind == "int" else float)


@pytest.mark.parametrize(
    ("value", "clipped"),
    [(1e-5, 1e-4), (1e-4, 1e-4), (0.00123, 0.00123), (1e-2, 1e-2), (5.0, 1e-2), (-1, 1e-4)],
)
def test_clip_of_a_range_without_steps_changes_only_what_lies_outside(value: float, clipped: float) -> None:
    assert Parameter("lr", "float", 1e-4, 1e-2, log=True).clip(value) == clipped


def test_the_last_step_is_the_high_end_to_the_last_digit() -> None:
    parameter = Parameter("dropout", "float", 0.0, 0.3, step=0.1)
    assert 3 * 0.1 > 0.3  # what three steps add up to would be outside
    assert parameter.clip(0.29) == parameter.clip(0.3) == parameter.clip(9.0) == 0.3


def test_an_int_range_rounds_to_the_nearer_number_and_never_down() -> None:
    parameter = Parameter("num_L", "int", 1, 6)
    assert [parameter.clip(value) for value in (1.2, 1.8, 5.51, 6.4)] == [1, 2, 6, 6]
