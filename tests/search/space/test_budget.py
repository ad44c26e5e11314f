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

WAITING = Budget(minutes=2, least_trials=12)


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
        (WAITING, Spent(seconds=119, scores=12 * [0.4]), None),
        (WAITING, Spent(seconds=120, scores=12 * [0.4]), "time budget of 2 min used, 12 trials finished"),
        (WAITING, Spent(seconds=359, scores=11 * [0.4] + [None]), None),
        (WAITING, Spent(seconds=360, scores=[0.4, None]), "3 times the time budget of 2 min used, 1 trial "),
        (WAITING, Spent(seconds=130, scores=[None] * 10), "10 trials failed"),
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
     {"minutes": float("nan")}, {"minutes": 10**400}, {"gpu_hours": 10**400}, {"target": 0}, {"target": 65.0},
     {"patience": 0}],
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


def test_a_default_waits_for_trials_and_says_so() -> None:
    assert Budget(trials=60, minutes=8).waiting() == Budget(trials=60, minutes=8, least_trials=12)
    assert Budget(trials=5, minutes=8).waiting().least_trials == 5
    assert Budget(minutes=8, least_trials=3).waiting().least_trials == 3, "the space says so"
    assert Budget(trials=60).waiting() == Budget(trials=60)
    described = Budget(trials=60, minutes=8).waiting().describe()
    assert described == "60 trials or 8 min (up to 24 min until 12 trials are finished)"


def test_a_number_of_trials_to_wait_for_needs_a_time_limit() -> None:
    with pytest.raises(UserError, match="least_trials: extends minutes, which is missing"):
        Budget(trials=60, least_trials=12)


def test_an_ending_has_the_right_plural() -> None:
    assert exhausted(Budget(trials=1), Spent(finished=1)) == "1 trial done"
    assert exhausted(Budget(trials=2), Spent(finished=2)) == "all 2 trials done"


def test_minutes_are_written_in_words() -> None:
    assert [minutes_in_words(value) for value in (8, 90, 0.75)] == ["8 min", "1 h 30 min", "45 s"]
