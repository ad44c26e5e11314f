"""Where a winner comes from: given, searched, or searched near a given one."""

from pathlib import Path

import pytest

from search.space.origin import origin
from search.space.space import Space, read_space

TEXT = """
[study]
dataset = "MELD"
features = "open"
[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true
[space.dropout]
type = "float"
low = 0.0
high = 0.6
[space.tau]
type = "float"
low = 0.1
high = 1.0
[space.use_gumbel]
type = "choice"
values = [true, false]
[space.gumbel_k]
type = "choice"
values = [1, 2]
when = { use_gumbel = true }
[[start]]
lr = 1e-3
dropout = 0.1
tau = 0.5
use_gumbel = true
gumbel_k = 1
[[start]]
lr = 1e-2
dropout = 0.5
tau = 0.9
use_gumbel = false
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "space.toml").write_text(TEXT, encoding="utf-8")
    return read_space(tmp_path / "space.toml")


def test_a_start_point_is_given_and_has_its_place_in_the_file(space: Space) -> None:
    assert origin(space, space.starts[0]) == "given (start point 1)"
    assert origin(space, space.starts[1]) == "given (start point 2)"


def test_a_configuration_that_differs_in_two_parameters_is_near(space: Space) -> None:
    close = {**space.starts[1], "lr": 2e-2, "dropout": 0.3, "tau": 0.2}
    assert origin(space, close) == "searched near start point 2"
    assert origin(space, {**space.starts[0], "gumbel_k": 2}) == "searched near start point 1"


def test_what_differs_in_more_parameters_is_searched(space: Space) -> None:
    far = {"lr": 1e-5, "dropout": 0.3, "tau": 0.2, "use_gumbel": False}
    assert origin(space, far) == "searched"
