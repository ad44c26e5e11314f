"""The first exhausted limit ends a study, and a limit is always a number above zero."""

import pytest

from rigsl.errors import UserError
from search.space.budget import (
    Budget,
    Spent,
    exhausted,
    may_start,
    minutes_in_words,
    read_minutes,
)


@pytest.mark.parametrize(
    ("budget", "spent", "word"),
    [
        (Budget(trials=3), Spent(finished=2), None),
        (Budget(trials=3), Spent(finished=3), "3 trials"),
        (Budget(minutes=2), Spent(seconds=119), None),
        (Budget(minutes=2), Spent(seconds=120), "2 min"),
        (Budget(target=0.5), Spent(scores=[0.4, None, 0.5]), "target"),
        (Budget(target=0.5), Spent(scores=[0.4, None]), None),
        (Budget(patience=2), Spent(scores=[0.4, 0.3]), None),
        (Budget(patience=2), Spent(scores=[0.4, 0.3, None]), "2 trials without"),
        (Budget(patience=2), Spent(scores=[None, None, None]), None),
        (Budget(patience=2), Spent(scores=[0.4, 0.3, 0.5]), None),
        (Budget(trials=99), Spent(scores=[0.4] + [None] * 10, finished=11), "10 trials failed"),
        (Budget(trials=9, minutes=1), Spent(finished=9, seconds=61), "1 min"),
    ],
)
def test_the_first_exhausted_limit_ends_the_study(budget: Budget, spent: Spent, word: str | None) -> None:
    ending = exhausted(budget, spent)
    assert (ending is None) if word is None else (ending is not None and word in ending)


def test_no_trial_starts_beyond_the_number_of_trials() -> None:
    assert may_start(Budget(trials=2), 1)
    assert not may_start(Budget(trials=2), 2)
    assert may_start(Budget(minutes=1), 10_000)


@pytest.mark.parametrize(
    "limits",
    [{"trials": 0}, {"trials": -1}, {"trials": 2.5}, {"trials": True}, {"minutes": 0}, {"minutes": -3.0},
     {"minutes": float("nan")}, {"target": 0}, {"target": 65.0}, {"patience": 0}],
)  # fmt: skip
def test_a_limit_that_is_not_a_number_above_zero_is_refused(limits: dict) -> None:
    with pytest.raises(UserError, match=next(iter(limits))):
        Budget(**limits)


@pytest.mark.parametrize(
    ("text", "minutes"), [("90s", 1.5), ("10m", 10), ("1h30m", 90), ("0.5h", 30), ("2d", 2880)]
)
def test_times_are_read(text: str, minutes: float) -> None:
    assert read_minutes(text) == pytest.approx(minutes)


@pytest.mark.parametrize("text", ["10", "m", "-5m", "0m", "1h 30m", "soon", ""])
def test_a_text_that_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="time-budget"):
        read_minutes(text)


def test_the_limits_are_described_in_words() -> None:
    assert Budget(trials=3, gpu_hours=0.5).describe() == "3 trials or 0.5 GPU hours"
    assert Budget(trials=1, gpu_hours=1).describe() == "1 trial or 1 GPU hour"
    assert Budget(patience=1).describe() == "1 trial without a new best"
    assert Budget().describe() == "no limit"


def test_an_ending_has_the_right_plural() -> None:
    assert exhausted(Budget(trials=1), Spent(finished=1)) == "1 trial done"
    assert exhausted(Budget(trials=2), Spent(finished=2)) == "all 2 trials done"


def test_minutes_are_written_in_words() -> None:
    assert [minutes_in_words(value) for value in (8, 90, 0.75)] == ["8 min", "1 h 30 min", "45 s"]
