"""A record in a database: SQLite, and a real PostgreSQL server that is stopped and started again."""

import dataclasses
from pathlib import Path

import optuna
import pytest

from rigsl.config import read_toml
from rigsl.errors import UserError
from search import run_folder
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.record import record, storage
from search.study import run
from tests.helpers.postgres import Postgres
from tests.helpers.toy_study import toy_plan


def options(home: Path, **more) -> SearchOptions:
    return SearchOptions(tracking_uri=f"sqlite:///{home}/mlflow.db", data_dir=home / "data", **more)


def test_a_database_that_never_answers_again_ends_the_search_with_a_sentence(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "TIMEOUT", 0.5)
    monkeypatch.setattr(storage, "RETRY_EVERY", 0.1)
    messages = []
    study = record.open_record(tmp_path, "away", postgres_server.url, messages.append)
    postgres_server.stop()
    try:
        with pytest.raises(storage.DatabaseUnavailable, match="--resume"):
            study.set_user_attr("a", 1)
    finally:
        postgres_server.start()
    assert messages == ["the record's database does not answer; waiting for it"]
    study.set_user_attr("a", 2)
    assert record.open_record(tmp_path, "away", postgres_server.url).user_attrs == {"a": 2}


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


@pytest.mark.usefixtures("workers_here")
def test_a_sqlite_address_is_stored_as_an_absolute_path(tracked_home: Path) -> None:
    plan = toy_plan(tracked_home, workers=1, trials=1, storage="sqlite:///study.db", study="s")
    run(plan)
    assert read_toml(plan.folder / run_folder.STUDY)["storage"] == f"sqlite:///{tracked_home}/study.db"
    assert len(record.begun(record.read_record(plan.folder))) == 1
