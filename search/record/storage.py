"""Where a record lies: a journal file in the run folder, or any database that Optuna can use.

A database is another machine's program: it is restarted, or a network fails for a minute. The search waits
for it, its workers going on meanwhile; nothing that was told is told twice.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from rigsl.errors import UserError
from search.run_folder import JOURNAL

#: Seconds that a database may be away, and between two attempts.
PATIENCE, AGAIN = 600.0, 2.0
#: What Optuna calls of a database storage, directly or from its cache.
_CALLS = (
    "create_new_study", "delete_study", "set_study_user_attr", "set_study_system_attr", "get_all_studies",
    "get_study_id_from_name", "get_study_name_from_id", "get_study_directions", "get_study_user_attrs",
    "get_study_system_attrs", "_create_new_trial", "_set_trial_param", "set_trial_state_values",
    "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr", "get_trial",
    "_get_trials", "get_trial_id_from_study_id_trial_number",
)  # fmt: skip


class DatabaseAway(UserError):
    """The record's database did not come back."""


def connect(folder: Path, url: str | None) -> BaseStorage:
    """The storage at `url`; without one, the journal file in `folder`.

    Raises:
        UserError: the address is none, its driver is not installed, or nothing answers there.
    """
    if url is None:
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    check_url(url)
    import sqlalchemy.exc

    try:
        return PatientStorage(url)
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise UserError(f"--storage {without_password(url)}: {_first(error)}") from None


def check_url(url: str) -> None:
    """Whether `url` can be the address of a database, and its driver is here.

    Raises:
        UserError: it cannot, or it is not.
    """
    import sqlalchemy
    import sqlalchemy.exc

    try:
        made = sqlalchemy.make_url(url)
        sqlalchemy.create_engine(made)
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        hint = "pip install -e '.[postgres]'" if made.drivername == "postgresql" else "pip"
        raise UserError(
            f"--storage {without_password(url)}: needs a driver that is not here ({_first(error)}); "
            f"install it with {hint}"
        ) from None
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise UserError(
            f"--storage {url}: is not an address like postgresql://user@host/database or sqlite:///study.db"
        ) from None


def without_password(url: str) -> str:
    """`url` as it may be shown and kept; libpq takes the password from PGPASSWORD or ~/.pgpass."""
    import sqlalchemy
    import sqlalchemy.exc

    try:
        made = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        return url
    if made.password is None:
        return url
    return sqlalchemy.URL.create(
        made.drivername, made.username, None, made.host, made.port, made.database, made.query
    ).render_as_string()


def absolute(url: str) -> str:
    """A SQLite file's address that does not depend on the working directory."""
    head = "sqlite:///"
    if url.startswith(head) and not url.startswith(head + "/") and ":memory:" not in url:
        return head + str(Path(url.removeprefix(head)).resolve())
    return url


class PatientStorage(RDBStorage):
    """Optuna's database storage, which waits for a database that is away for a while.

    Raises:
        DatabaseAway: it was away for longer than `PATIENCE` seconds.
    """

    def __init__(self, url: str) -> None:
        #: Told once when the database is away, and once when it is back.
        self.told: Callable[[str], object] = lambda text: None
        # A connection may have died with a restart of the server: it is tried before it is used.
        super().__init__(url, engine_kwargs={"pool_pre_ping": True})


def _patiently(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: PatientStorage, *arguments: Any, **named: Any) -> Any:
        import sqlalchemy.exc

        away_since: float | None = None
        while True:
            try:
                found = method(self, *arguments, **named)
            except UpdateFinishedTrialError:
                if away_since is None:
                    raise
                found = True  # the answer to the last attempt was lost, not the attempt
            except (StorageInternalError, sqlalchemy.exc.OperationalError) as error:
                if not _is_away(error):
                    raise
                away_since = _wait(self, away_since, error)
                continue
            if away_since is not None:
                self.told("the record's database is back")
            return found

    return call


def _is_away(error: Exception) -> bool:
    """Whether the connection failed, not the statement."""
    import sqlalchemy.exc

    cause = error if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else error.__cause__
    return isinstance(cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)


def _wait(storage: PatientStorage, since: float | None, error: Exception) -> float:
    now = time.monotonic()
    if since is None:
        since = now
        storage.told("the record's database does not answer; waiting for it")
    if now - since > PATIENCE:
        where = without_password(str(storage.url))
        raise DatabaseAway(
            f"the record's database {where} did not answer for {PATIENCE / 60:.0f} minutes "
            f"({_first(error.__cause__ or error)}); when it is back, go on with --resume"
        )
    time.sleep(AGAIN)
    return since


for _name in _CALLS:
    setattr(PatientStorage, _name, _patiently(getattr(RDBStorage, _name)))


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
