"""The end of a search by its time limit, in words: honest while it waits for trials."""

import time

import pytest

from search.space.budget import Budget
from search.terminal import time_left
from search.terminal.time_left import ending_time

WAITING = Budget(trials=60, minutes=8, least_trials=12)


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is twelve o'clock."""
    noon = time.mktime((2026, 11, 26, 12, 0, 0, 0, 0, -1))
    monkeypatch.setattr(time_left.time, "time", lambda: noon)


@pytest.mark.parametrize(
    ("budget", "used", "scored", "text"),
    [
        (Budget(trials=5), 10, 0, ""),
        (Budget(minutes=8), 60, 0, "by 12:07:00"),
        (Budget(minutes=8), 500, 0, "by 12:00:00"),
        (WAITING, 0, 0, "by 12:08:00, or when 12 trials are finished, by 12:24:00 at the latest"),
        (WAITING, 540, 11, "when 12 trials are finished, by 12:15:00 at the latest"),
        (WAITING, 60, 12, "by 12:07:00"),
    ],
)
def test_when_a_search_ends(budget: Budget, used: float, scored: int, text: str) -> None:
    assert ending_time(budget, used, scored) == text
