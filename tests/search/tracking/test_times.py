"""What MLflow and --status say about time comes from the record: a copied folder changes nothing."""

import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from search.execution.cleanup import RunFolderCleanup
from search.execution.clock import Clock
from search.record import record, times
from search.run_folder import ENVIRONMENT, REPORT, STUDY
from search.terminal.status import print_studies
from search.tracking.event_log import EventLog
from search.tracking.run_state import PARENT, read_context
from search.tracking.sync import _last_activity
from tests.helpers.played_study import PlayedStudy

#: A year later.
LATER = time.time() + 365 * 86400


def touch(folder: Path, moment: float = LATER) -> None:
    """What a copy of the folder does to the times of its files."""
    for path in folder.rglob("*"):
        os.utime(path, (moment, moment))


def end_in_mlflow(played: PlayedStudy) -> int | None:
    log = EventLog(read_context(played.folder), record.read_record(played.folder))
    log.done("all done", None)
    return log.runs[PARENT].end


def test_the_end_of_a_study_is_that_of_its_record(home: Path) -> None:
    played = PlayedStudy(home, "http://127.0.0.1:9")
    played.play([], 2)
    RunFolderCleanup(played.study, played.folder, Clock()).ended()
    played.finish()
    end = int(1000 * played.study.user_attrs[times.ENDED_AT])
    assert end_in_mlflow(played) == end
    touch(played.folder)  # as does a --report, which writes the file again
    assert end_in_mlflow(played) == end


def test_a_study_of_an_earlier_version_ends_with_its_report(home: Path) -> None:
    played = PlayedStudy(home, "http://127.0.0.1:9")
    played.play([], 2)
    played.finish()
    assert end_in_mlflow(played) == int(1000 * (played.folder / REPORT).stat().st_mtime)


def test_a_trial_that_was_not_handed_out_begins_in_mlflow_when_it_is(
    home: Path,
) -> None:
    """A run's start cannot be changed later, and the record gets the trial's start when a worker gets it."""
    played = PlayedStudy(home, "http://127.0.0.1:9")
    trial = played.study.ask()
    log = EventLog(read_context(played.folder), record.read_record(played.folder))
    assert list(log.runs) == [PARENT]
    began = trial.study.trials[trial.number].datetime_start.timestamp() + 60
    trial.set_user_attr(times.STARTED_AT, began)
    trial.set_user_attr(record.HASH, "abc")
    handed_out = played.study.trials[trial.number]
    log.started(handed_out, {}, resumed=True)
    assert log.runs[trial.number].start == int(1000 * began)
    again = EventLog(read_context(played.folder), record.read_record(played.folder))
    assert again.runs[trial.number].start == int(1000 * began)


@pytest.mark.parametrize("last", ["", "running"])
def test_the_last_activity_of_an_interrupted_study_is_that_of_its_record(home: Path, last: str) -> None:
    before = time.time()
    played = PlayedStudy(home, "http://127.0.0.1:9")
    played.play([], 2, last=last)
    after = time.time()
    touch(played.folder)
    assert 1000 * before - 1 <= _last_activity(played.folder, played.study) <= 1000 * after + 1


def test_studies_are_listed_in_the_order_of_their_last_start(
    home: Path, capsys: pytest.CaptureFixture
) -> None:
    studies = [PlayedStudy(home, "http://127.0.0.1:9", name=name) for name in ("first", "second")]
    for played, hour in zip(studies, ("11:30:00+00:00", "10:00:00-05:00"), strict=True):
        path = played.folder / ENVIRONMENT
        path.write_text(f'[{{"started": "2026-03-01T{hour}"}}]', encoding="utf-8")
    touch(studies[0].folder)
    print_studies(home / "runs", Console(width=200))
    printed = capsys.readouterr().out
    assert printed.index("first") < printed.index("second")
    (studies[0].folder / ENVIRONMENT).unlink()  # killed before it was written
    assert (studies[0].folder / STUDY).stat().st_mtime == pytest.approx(LATER)
    print_studies(home / "runs", Console(width=200))
    printed = capsys.readouterr().out
    assert printed.index("second") < printed.index("first")
