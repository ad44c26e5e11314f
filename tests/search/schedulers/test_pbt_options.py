"""What population based training needs of a space and its schedule."""

from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.schedulers.pbt import check_pbt
from search.space.schedule import Schedule
from search.space.space import Space, read_space
from tests.search.schedulers.toy_population import SPACE


def test_a_space_without_anything_to_explore_is_refused(space: Space, tmp_path: Path) -> None:
    head = SPACE.split("[space.lr]")[0]
    path = tmp_path / "rigid.toml"
    path.write_text(head + '[space.num_L]\ntype = "int"\nlow = 1\nhigh = 3\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"rigid\.toml: \[space\] names no parameter that can change"):
        check_pbt(read_space(path), Schedule("pbt"), epochs=9)
    with pytest.raises(UserError, match="interval: 2 is not below the 2 epochs"):
        check_pbt(space, space.schedule, epochs=2)
    check_pbt(space, space.schedule, epochs=9)


@pytest.mark.parametrize(
    ("key", "value"),
    [("quantile", 0.6), ("quantile", 1), ("population", 1), ("interval", 0), ("interval", 1.5), ("grace", 2)],
)
def test_a_mistake_in_the_schedule_is_named(tmp_path: Path, key: str, value: float) -> None:
    lines = [old for old in SPACE.splitlines() if not old.startswith(key)]
    (tmp_path / "space.toml").write_text("\n".join([*lines, f"{key} = {value}"]), encoding="utf-8")
    with pytest.raises(UserError, match=rf"\[scheduler\] {key}:"):
        read_space(tmp_path / "space.toml")
