"""Commands work for a user without a home folder."""

import logging
import os
import pwd
from pathlib import Path

import pytest

from rigsl.home import do_without_home


@pytest.fixture(autouse=True)
def matplotlib_level() -> None:
    logger = logging.getLogger("matplotlib")
    before = logger.level
    yield
    logger.setLevel(before)


def test_a_user_whom_the_system_does_not_know_has_the_home_that_containers_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError):
        Path.home()
    do_without_home()
    assert Path.home() == Path("/")


@pytest.mark.parametrize(("home", "quiet"), [("/proc/none", True), ("", False)])
def test_matplotlib_is_quiet_about_a_home_that_cannot_be_written_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, quiet: bool
) -> None:
    monkeypatch.setenv("HOME", home or str(tmp_path))
    do_without_home()
    assert logging.getLogger("matplotlib").isEnabledFor(logging.WARNING) is not quiet
    assert os.environ["HOME"] == (home or str(tmp_path))
