"""The toy space, for tests of the search's parts."""

from pathlib import Path

import pytest

from search.space.space import Space, read_space


@pytest.fixture
def space(home: Path) -> Space:
    """The toy space."""
    return read_space(home / "space.toml")
