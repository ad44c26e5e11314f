"""A record in a database: SQLite, and a real PostgreSQL server that is stopped and started again."""

import dataclasses
from pathlib import Path

import optuna
import pytest
import sqlalchemy.exc
import sqlalchemy.orm
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from rigsl.config import read_toml
from rigsl.errors import UserError
from search import run_folder
from search import study as study_module
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.plan.plan import Plan
from search.record import record, storage
from search.study import run
from search.terminal.progress import Progress
from tests.helpers.disturb import before
from tests.helpers.listeners import AtEpoch
from tests.helpers.postgres import Postgres
from tests.helpers.toy_study import toy_plan
from tests.helpers.without_workers import replace_workers


def options(home: Path, **more) -> SearchOptions:
    return SearchOptions(tracking_uri=f"sqlite:///{home}/mlflow.db", data_dir=home / "data", **more)


def test_a_database_that_never_answers_again_ends_the_search_with_a_sentence(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "TIMEOUT", 0.5)
    monkeypatch.setattr(storage, "RETRY_EVERY", 0.1)
    messages = []
    folder = tmp_path / "away"
    folder.mkdir()
    study = record.open_record(folder, "away", postgres_server.url, messages.append)
    postgres_server.stop()
    try:
        with pytest.raises(storage.DatabaseUnavailable, match="--resume away when it is back"):
            study.set_user_attr("a", 1)
    finally:
        postgres_server.start()
    assert messages == ["the record's database does not answer; waiting for it"]
    study.set_user_attr("a", 2)
    assert record.open_record(folder, "away", postgres_server.url).user_attrs == {"a": 2}


def test_a_database_that_refuses_the_connection_is_waited_for_by_a_study_that_is_run(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "RETRY_EVERY", 0.1)
    folder = tmp_path / "refused"
    folder.mkdir()
    record.open_record(folder, "refused", postgres_server.url).set_user_attr("a", 1)
    messages: list[str] = []

    def notify(message: str) -> None:
        messages.append(message)
        if len(messages) == 1:
            postgres_server.start()

    postgres_server.stop()
    with pytest.raises(UserError, match="efuse"):  # whoever only looks at it is told at once
        record.read_record(folder, postgres_server.url)
    study = record.open_record(folder, "refused", postgres_server.url, notify)
    assert study.user_attrs == {"a": 1}
    assert messages == [
        "the record's database does not answer; waiting for it", "the record's database is back"
    ]  # fmt: skip


def test_an_end_that_is_written_twice_because_its_answer_was_lost_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


class LostAnswers:
    """A database whose answer to the next commits is lost after they have succeeded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.commits_until_loss = -1  #: 0: the next one; negative: none is lost
        commit = sqlalchemy.orm.Session.commit

        def lossy(session: sqlalchemy.orm.Session) -> None:
            commit(session)
            self.commits_until_loss -= 1
            if self.commits_until_loss == -1:
                raise sqlalchemy.exc.OperationalError("commit", None, Exception("connection lost"))

        patch.setattr(sqlalchemy.orm.Session, "commit", lossy)
        patch.setattr(storage, "RETRY_EVERY", 0.0)
        patch.setattr("optuna.storages._rdb.storage.time.sleep", lambda seconds: None)


@pytest.mark.parametrize("commit", range(3))
def test_a_trial_whose_answer_was_lost_is_created_once(
    tmp_path: Path, commit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one would run for ever: nobody knows of it."""
    answers = LostAnswers(monkeypatch)
    study = record.open_record(tmp_path, "s", f"sqlite:///{tmp_path}/study.db")
    study.tell(study.ask(), 0.1)
    answers.commits_until_loss = commit
    trial = study.ask()
    trial.suggest_float("lr", 0, 1)
    study.tell(trial, 0.5)
    assert answers.commits_until_loss < -1, "an answer was lost"
    assert [(trial.number, trial.state, trial.value) for trial in study.trials] == [
        (0, TrialState.COMPLETE, 0.1),
        (1, TrialState.COMPLETE, 0.5),
    ]


@pytest.mark.parametrize("commit", range(3))
def test_a_waiting_trial_whose_answer_was_lost_is_created_and_handed_out_once(
    tmp_path: Path, commit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = LostAnswers(monkeypatch)
    study = record.open_record(tmp_path, "s", f"sqlite:///{tmp_path}/study.db")
    answers.commits_until_loss = commit
    for lr in (0.1, 0.2):
        study.enqueue_trial({"lr": lr}, user_attrs={"parent": 3})
    answers.commits_until_loss = commit
    for lr in (0.1, 0.2):
        trial = study.ask()
        assert trial.suggest_float("lr", 0, 1) == lr
        study.tell(trial, lr)
    assert [(trial.state, trial.value, trial.user_attrs) for trial in study.trials] == [
        (TrialState.COMPLETE, 0.1, {"parent": 3}),
        (TrialState.COMPLETE, 0.2, {"parent": 3}),
    ]


def test_a_connection_that_is_lost_within_a_transaction_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages import RDBStorage

    monkeypatch.setattr(storage, "RETRY_EVERY", 0.0)
    study = record.open_record(tmp_path, "s", f"sqlite:///{tmp_path}/study.db")
    read, calls = RDBStorage.get_all_studies, []

    def lost(self: RDBStorage) -> list:
        calls.append(1)
        if len(calls) == 1:
            error = sqlalchemy.exc.PendingRollbackError("Can't reconnect")
            raise StorageInternalError("An exception is raised during the commit.") from error
        return read(self)

    monkeypatch.setattr(storage.RetryingStorage, "get_all_studies", storage._with_retries(lost))
    assert len(study._storage._backend.get_all_studies()) == 1
    assert len(calls) == 2


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
        ("sqlite://", "is a database in memory, which a resume could not find; name a file"),
        ("sqlite:///", "is a database in memory"),
        ("sqlite:///:memory:", "is a database in memory"),
        ("sqlite:///file:study?mode=memory&uri=true", "is a database in memory"),
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


class Stopped(AtEpoch):
    """Stops the database for good in the middle of the search."""

    def __init__(self, server: Postgres) -> None:
        super().__init__(1, 2)
        self.server = server

    def act(self) -> bool:
        self.server.stop()
        return True


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize(
    "stage", ["search", *(pytest.param(stage, marks=pytest.mark.soak) for stage in ("finals", "export"))]
)
def test_a_database_that_is_stopped_for_good_ends_a_study_with_a_sentence_and_a_resume_completes_it(
    tracked_home: Path, postgres_server: Postgres, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "TIMEOUT", 0.5)
    monkeypatch.setattr(storage, "RETRY_EVERY", 0.1)
    options = {"trials": 3, "finalists": 2, "finalist_seeds": 1, "test_seeds": 1, "scheduler": "none"}
    url = postgres_server.url.replace("rigsl@", "rigsl:secret@")
    plan = toy_plan(tracked_home, workers=1, storage=url, study=f"stopped-{stage}", **options)
    with monkeypatch.context() as patch:
        if stage == "finals":
            before(patch, Progress, "job_ended", postgres_server.stop)
        if stage == "export":
            before(patch, study_module, "export_best", postgres_server.stop)
        listeners = [Stopped(postgres_server)] if stage == "search" else []
        with pytest.raises(storage.DatabaseUnavailable) as told:
            run(plan, listeners=listeners)
    try:
        assert f"database postgresql://rigsl@127.0.0.1:{postgres_server.port}/postgres did not answer" in str(
            told.value
        )
        assert f"continue with --resume {plan.name} when it is back" in str(told.value)
        assert "\n" not in str(told.value)
    finally:
        postgres_server.start()
    before_resume = record.read_record(plan.folder, url).trials
    assert TrialState.FAIL not in [trial.state for trial in before_resume]
    outcome = run(toy_plan(tracked_home, workers=1, resume=plan.name, storage=url))
    trials = record.read_record(plan.folder, url).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    for old, new in zip(before_resume, trials, strict=False):
        assert old.params.items() <= new.params.items()
        assert old.intermediate_values.items() <= new.intermediate_values.items()
        assert not old.state.is_finished() or (old.values, old.datetime_complete) == (
            new.values,
            new.datetime_complete,
        )
    assert outcome.exported is not None


def test_a_database_that_is_away_before_the_terminal_is_set_up_is_waited_for(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def away(plan: Plan, study: optuna.Study) -> optuna.Study:
        study._storage._backend.notify("the record's database does not answer; waiting for it")
        return write_folder(plan, study)

    write_folder = study_module.write_folder
    monkeypatch.setattr(study_module, "write_folder", away)
    replace_workers(monkeypatch)
    study_module.run(toy_plan(tracked_home, storage=f"sqlite:///{tracked_home}/study.db"))
    assert "does not answer" in capsys.readouterr().out
