"""What a campaign says of one run of the driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.driver import END, SEARCH, START
from tests.chaos.life import Past, judge, met

STEP = ("clock step", "search", "before suggest")
KILL = ("group SIGKILL", END, "after done")


@pytest.mark.parametrize(("code", "happened"), [(-9, [STEP, KILL]), (0, [STEP]), (2, [STEP])])
def test_a_kill_that_comes_after_the_end_has_not_happened(
    code: int, happened: list[tuple[str, str, str]]
) -> None:
    assert met([STEP, KILL], code) == happened


@pytest.mark.parametrize(
    ("code", "finished", "problems"),
    [
        (0, True, []),
        (0, False, ["exit code 0, but the study is not finished"]),
        (2, True, ["exit code 2, not one of [0]"]),
    ],
)
def test_the_end_is_judged_by_what_the_driver_met(
    tmp_path: Path, code: int, finished: bool, problems: list[str]
) -> None:
    past = Past(code, met([STEP, KILL], code), output="go on: --status --resume", stage=END)
    found = judge(past, tmp_path, finished)
    assert found == problems


@pytest.mark.parametrize(("stage", "problems"), [(START, []), (SEARCH, ["exit code 2, not one of [0]"])])
def test_a_database_that_is_away_ends_only_what_has_just_been_called(
    tmp_path: Path, stage: str, problems: list[str]
) -> None:
    past = Past(2, [("database stopped", stage, "begin")], output="go on with --resume", stage=stage)
    assert judge(past, tmp_path, finished=False) == problems
