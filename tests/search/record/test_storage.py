"""A record in a database: a real PostgreSQL server, stopped in the middle of a search."""

import dataclasses
import threading
import time
from pathlib import Path

import optuna
import pytest

from rigsl.config import read_toml
from rigsl.errors import UserError
from search import run_folder
from search.execution import ray_session
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.record import record, storage
from search.resources.workers import Workers
from search.study import run
from tests.helpers.postgres import Postgres, postgres, programs
from tests.helpers.toy_study import write_home


@pytest.fixture(scope="module")
def server():
    if programs() is None:
        pytest.skip("no PostgreSQL server programs here")
    with postgres() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_home(tmp_path / "home")
    monkeypatch.chdir(folder)
    return folder


def options(home: Path, **more) -> SearchOptions:
    return SearchOptions(tracking_uri=f"sqlite:///{home}/mlflow.db", data_dir=home / "data", **more)


class Stopper:
    """Stops the database at an event of a study, and starts it again a little later."""

    def __init__(self, server: Postgres) -> None:
        self.server, self.stopped = server, False

    def started(self, trial, config, resumed) -> None:
        pass

    def epoch(self, number, report) -> None:
        if number == 1 and not self.stopped:
            self.stopped = True
            self.server.stop()
            threading.Thread(target=self.start).start()

    def start(self) -> None:
        time.sleep(3)
        self.server.start()

    def finished(self, trial, snapshot) -> None:
        pass


@pytest.mark.soak
def test_a_study_in_postgresql_survives_a_restart_of_the_server_and_can_be_resumed(
    home: Path, server: Postgres, capsys: pytest.CaptureFixture
) -> None:
    plan = prepare(options(home, space=home / "space.toml", trials=4, storage=server.url, study="pg"))
    stopper = Stopper(server)
    with ray_session.running(Workers(2, "cpu"), 10_000_000):
        outcome = run(dataclasses.replace(plan, workers=Workers(2, "cpu")), listeners=[stopper])
        assert stopper.stopped
        assert outcome.counts["complete"] + outcome.counts["pruned"] == 4
        output = capsys.readouterr().out
        assert "database does not answer" in output
        assert "database is back" in output
        assert not (plan.folder / record.JOURNAL).exists()
        before = record.read_record(plan.folder).trials
        again = prepare(options(home, resume="pg", trials=6))
        assert again.storage == server.url
        after = run(dataclasses.replace(again, workers=Workers(1, "cpu")))
    assert after.counts["complete"] + after.counts["pruned"] == 6
    trials = record.read_record(plan.folder).trials
    assert [(t.params, t.values, t.intermediate_values) for t in trials[: len(before)]] == [
        (t.params, t.values, t.intermediate_values) for t in before
    ]
    for trial in trials:
        assert sorted(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
    with pytest.raises(UserError, match="holds a study pg already"):
        prepare(
            options(home, space=home / "space.toml", storage=server.url, study="pg", runs_dir=home / "other")
        )


def test_a_database_that_never_answers_again_ends_the_search_with_a_sentence(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "TIMEOUT", 0.5)
    monkeypatch.setattr(storage, "RETRY_EVERY", 0.1)
    messages = []
    study = record.open_record(tmp_path, "away", server.url, messages.append)
    server.stop()
    try:
        with pytest.raises(storage.DatabaseUnavailable, match="--resume"):
            study.set_user_attr("a", 1)
    finally:
        server.start()
    assert messages == ["the record's database does not answer; waiting for it"]
    study.set_user_attr("a", 2)
    assert record.open_record(tmp_path, "away", server.url).user_attrs == {"a": 2}


def test_an_end_that_is_written_twice_because_its_answer_was_lost_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy.exc
    from optuna.storages import RDBStorage

    monkeypatch.setattr(storage, "RETRY_EVERY", 0.0)
    study = record.open_record(tmp_path, "s", f"sqlite:///{tmp_path}/study.db")
    trial, tell, calls = study.ask(), RDBStorage.set_trial_state_values, []

    def lose_the_answer(self, *args, **kwargs):
        tell(self, *args, **kwargs)
        if not calls:
            calls.append(1)
            raise sqlalchemy.exc.OperationalError("commit", None, Exception("connection lost"))

    retrying = storage._with_retries(lose_the_answer)
    monkeypatch.setattr(storage.RetryingStorage, "set_trial_state_values", retrying)
    study.tell(trial, 0.5)
    assert [trial.value for trial in study.trials] == [0.5]


def test_an_error_of_a_statement_is_not_retried(tmp_path: Path) -> None:
    study = record.open_record(tmp_path, "s", f"sqlite:///{tmp_path}/study.db")
    trial = study.ask()
    study.tell(trial, 0.5)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.set_user_attr("late", 1)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("study.db", "is not an address like"),
        ("nosql://host/db", "needs a driver"),
        ("mysql+aiomysql://host/db", "needs a driver"),
        ("postgresql://rigsl:secret@127.0.0.1:1/none", "127.0.0.1:1/none"),
    ],
)
def test_a_wrong_address_is_refused_in_one_sentence(home: Path, url: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        prepare(options(home, space=home / "space.toml", trials=1, storage=url))
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (home / "runs").exists()


def test_a_password_is_not_stored(home: Path) -> None:
    plan = prepare(options(home, space=home / "space.toml", trials=1))
    plan = dataclasses.replace(plan, storage="postgresql://rigsl:secret@host/db")
    assert plan.options()["storage"] == "postgresql://rigsl@host/db"


def test_a_sqlite_address_is_stored_as_an_absolute_path(home: Path) -> None:
    plan = prepare(
        options(home, space=home / "space.toml", trials=1, storage="sqlite:///study.db", study="s")
    )
    with ray_session.running(Workers(1, "cpu"), 10_000_000):
        run(dataclasses.replace(plan, workers=Workers(1, "cpu")))
    assert read_toml(plan.folder / run_folder.STUDY)["storage"] == f"sqlite:///{home}/study.db"
    assert len(record.begun(record.read_record(plan.folder))) == 1
