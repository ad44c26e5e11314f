"""Times and the order of ends in a record, while the local clock steps back in the middle of a search."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.execution.searcher import StudySearcher
from search.record import record, times
from search.record.learning_curve import METRIC
from search.record.snapshot import take_snapshot
from search.report.clock import search_seconds
from search.space.budget import Budget, exhausted
from search.space.space import read_space
from search.tracking.run_state import milliseconds

Zone = Callable[[str], None]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zone]:
    """Sets the time zone of this process, as a daylight-saving step does."""

    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


def make_searcher(home: Path, study: optuna.Study) -> StudySearcher:
    return StudySearcher(
        study,
        read_space(home / "space.toml"),
        sampler="random",
        seed=0,
        budget=Budget(),
        workers=9,
        overrides={},
    )


def play(searcher: StudySearcher, scores: list[float], before_each: Callable[[int], None]) -> None:
    """Trials that begin together and end one after the other with these scores."""
    for number in range(len(scores)):
        searcher.suggest(str(number))
    for number, score in enumerate(scores):
        before_each(number)
        report = {"epoch": 4, METRIC: score, "epochs": 4, "ended": "by itself"}
        searcher.on_trial_complete(str(number), report)


def test_the_order_of_ends_survives_a_clock_that_steps_back(home: Path, zone: Zone) -> None:
    study = record.open_record(home, "one")
    searcher = make_searcher(home, study)
    play(
        searcher, [0.1, 0.4, 0.3, 0.2], lambda number: zone(f"XXX{number}")
    )  # west by one more hour each time
    local = [trial.datetime_complete for trial in study.trials]
    assert local == sorted(local, reverse=True), "the local clock stepped back"
    assert [trial.number for trial in record.finished(study)] == [0, 1, 2, 3]
    snapshot = take_snapshot(study)
    assert snapshot.scores == [0.1, 0.4, 0.3, 0.2]
    assert exhausted(Budget(patience=2), snapshot.spent(0.0, 0.0)) == "2 trials without a new best"
    assert exhausted(Budget(patience=3), snapshot.spent(0.0, 0.0)) is None


def test_times_are_those_of_utc_wherever_they_are_read(home: Path, zone: Zone) -> None:
    zone("XXX-5")
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    study = record.open_record(home, "one")
    play(make_searcher(home, study), [0.1], lambda number: zone("XXX3"))
    after = datetime.now(UTC)
    zone("XXX7")
    (trial,) = record.finished(record.open_record(home, "one"))
    started, ended = times.started_at(trial), times.ended_at(trial)
    assert before <= started <= ended <= after
    assert milliseconds(started) == int(1000 * trial.user_attrs[times.STARTED_AT])
    (seconds,) = search_seconds([trial], [before])
    assert 0 <= seconds <= (after - before).total_seconds()


def test_a_resumed_trial_keeps_its_begin_and_the_order_goes_on(home: Path) -> None:
    study = record.open_record(home, "one")
    first = make_searcher(home, study)
    play(first, [0.1, 0.2], lambda number: None)
    first.suggest("cut off")
    begin = study.trials[2].user_attrs[times.STARTED_AT]
    play(make_searcher(home, study), [0.3, 0.4], lambda number: None)
    assert study.trials[2].user_attrs[times.STARTED_AT] == begin
    assert [trial.user_attrs[times.ENDED] for trial in study.trials] == [1, 2, 3, 4]


def test_trials_of_an_earlier_version_ended_first_and_in_the_order_of_their_times(home: Path) -> None:
    study = record.open_record(home, "one")
    noon = datetime.now() + timedelta(days=1)  # its clock may have been ahead
    for hour in (2, 1):
        trial = create_trial(state=TrialState.COMPLETE, value=0.1)
        trial.datetime_start, trial.datetime_complete = noon, noon + timedelta(hours=hour)
        study.add_trial(trial)
    play(make_searcher(home, study), [0.3, 0.2], lambda number: None)
    assert [trial.number for trial in record.finished(study)] == [1, 0, 2, 3]


def test_local_times_of_an_earlier_version_are_those_of_the_machine_that_ran_it(zone: Zone) -> None:
    zone("XXX6")
    trial = create_trial(value=0.5)
    noon = datetime(2026, 3, 1, 12, 0)
    trial.datetime_start, trial.datetime_complete = noon, noon + timedelta(seconds=30)
    start = (noon - timedelta(seconds=10)).replace(tzinfo=timezone(timedelta(hours=2)))
    assert search_seconds([trial], [start]) == [40.0]
