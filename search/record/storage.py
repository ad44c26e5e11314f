"""Optuna storages for the record: a journal file in the run folder, or any database that Optuna supports.

A database server may be restarted, or the network may fail for a minute. The search then retries until the
database answers, while its workers go on; a write whose answer was lost is not repeated.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial

from rigsl.errors import UserError, first_line
from search.record.journal import open_backend
from search.run_folder import JOURNAL

if TYPE_CHECKING:
    from optuna.storages._rdb.models import TrialModel
    from sqlalchemy.orm import Session

#: Seconds to wait for a database that does not answer, and between two attempts.
TIMEOUT, RETRY_EVERY = 600.0, 2.0
#: The methods of a database storage that Optuna calls, directly or through its cache.
_METHODS = (
    "create_new_study", "delete_study", "set_study_user_attr", "set_study_system_attr", "get_all_studies",
    "get_study_id_from_name", "get_study_name_from_id", "get_study_directions", "get_study_user_attrs",
    "get_study_system_attrs", "_set_trial_param", "set_trial_state_values",
    "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr", "get_trial",
    "_get_trials", "get_trial_id_from_study_id_trial_number",
)  # fmt: skip


class DatabaseUnavailable(UserError):
    """The record's database did not answer within `TIMEOUT` seconds."""


def connect(folder: Path, url: str | None, notify: Callable[[str], object] | None = None) -> BaseStorage:
    """The storage at `url`; without a `url`, the journal file in `folder`.

    Args:
        folder: the run folder.
        url: address of a database.
        notify: called with a message when the database stops answering, and again when it is back. With it, a
            server that refuses the connection is waited for, too: it had answered this process before.

    Raises:
        UserError: `url` is not an address, its driver is not installed, or no database answers there.
    """
    if url is None:
        return _open_journal(folder / JOURNAL)
    check_url(url)
    import sqlalchemy.exc

    try:
        return RetryingStorage(url, folder.name, notify)
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise UserError(f"--storage {url}: {first_line(error, length=200)}") from None


def _open_journal(path: Path) -> BaseStorage:
    """The record in a journal file, which is read whole.

    Raises:
        UserError: the file is damaged, or cannot be read.
    """
    try:
        return JournalStorage(open_backend(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror or error})") from None
    except Exception as error:  # of JSON, or of Optuna, which reads what a line lacks in many places
        reason = f"{type(error).__name__}: {first_line(error, length=200)}"
        raise UserError(f"{path}: is damaged ({reason}); restore it from a copy") from None


def check_url(url: str) -> None:
    """Check that `url` is the address of a database and that its driver is installed.

    Raises:
        UserError: it is not.
    """
    import sqlalchemy
    import sqlalchemy.exc

    try:
        address = sqlalchemy.make_url(url)
        sqlalchemy.create_engine(address)
        in_memory = address.get_backend_name() == "sqlite" and (
            address.database in (None, "", ":memory:", "file::memory:") or "mode=memory" in url
        )
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        hint = "pip install -e '.[postgres]'" if address.drivername == "postgresql" else "pip"
        reason = first_line(error, length=200)
        raise UserError(
            f"--storage {url}: needs a driver that is not installed ({reason}); install it with {hint}"
        ) from None
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise UserError(
            f"--storage {url}: is not an address like postgresql://user@host/database or sqlite:///study.db"
        ) from None
    if in_memory:
        raise UserError(
            f"--storage {url}: is a database in memory, which a resume could not find; name a file, such as "
            "sqlite:///study.db"
        )


def absolute(url: str) -> str:
    """`url`, with the path of a SQLite file made absolute."""
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith((prefix + "/", prefix + "file:")):
        return prefix + str(Path(url.removeprefix(prefix)).resolve())
    return url


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite address; None: another database, or one in memory."""
    import sqlalchemy
    import sqlalchemy.exc

    try:
        address = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        return None
    in_memory = not address.database or address.database == ":memory:" or address.database.startswith("file:")
    return None if address.get_backend_name() != "sqlite" or in_memory else Path(str(address.database))


class RetryingStorage(RDBStorage):
    """Optuna's database storage, with retries while the database does not answer.

    Raises:
        DatabaseUnavailable: it did not answer for longer than `TIMEOUT` seconds.
    """

    def __init__(self, url: str, study: str, notify: Callable[[str], object] | None = None) -> None:
        import sqlalchemy.exc

        self.url, self._study = url, study  #: the latter: what a user resumes
        self.notify = notify or (lambda message: None)
        #: Number of the study's last trial before the one that is being created; None: not known yet.
        self._last_before: int | None = None
        # A restart of the server closes its connections: each is tested before it is used.
        since: float | None = None
        patient = notify is not None and sqlite_file(url) is None
        while True:
            try:
                super().__init__(url, engine_kwargs={"pool_pre_ping": True})
                break
            except (StorageInternalError, sqlalchemy.exc.OperationalError) as error:
                if not (patient and _is_connection_error(error)):
                    raise
                since = _wait(self, since, error)
        if since is not None:
            self.notify("the record's database is back")

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """A new trial, also if the answer of the database is lost: then it is found, not created again.

        Optuna and `_with_retries` both try again. A second trial would run for ever, as nobody knows of it.
        """
        self._last_before = None
        create = _with_retries(RDBStorage._create_new_trial)
        return create(self, study_id, template_trial)  # type: ignore[no-any-return]

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        """Called for every attempt of `_create_new_trial`, in its transaction, which locks the study.

        Only one process writes to a study, so that a trial which an earlier attempt did not see is its own.
        """
        from optuna.storages._rdb.models import TrialModel

        trials = session.query(TrialModel).filter(TrialModel.study_id == study_id)
        last = trials.order_by(TrialModel.number.desc()).first()
        number = -1 if last is None else int(last.number)
        if self._last_before is None:
            self._last_before = number
        if last is not None and number > self._last_before:
            return last
        return super()._get_prepared_new_trial(study_id, template_trial, session)


def _with_retries(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: RetryingStorage, *args: Any, **kwargs: Any) -> Any:
        import sqlalchemy.exc

        since: float | None = None  # when the database stopped answering
        while True:
            try:
                result = method(self, *args, **kwargs)
            except UpdateFinishedTrialError:
                if since is None:
                    raise
                result = True  # an earlier attempt had succeeded, and only its answer was lost
            except (StorageInternalError, sqlalchemy.exc.OperationalError) as error:
                if not _is_connection_error(error):
                    raise
                since = _wait(self, since, error)
                continue
            if since is not None:
                self.notify("the record's database is back")
                # An earlier attempt may have begun the trial: then it is no longer waiting for this one.
                result = True if result is False else result
            return result

    return call


def _is_connection_error(error: Exception) -> bool:
    """Whether the connection failed, rather than the statement."""
    import sqlalchemy.exc

    cause = error if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else error.__cause__
    lost = (
        sqlalchemy.exc.OperationalError,
        sqlalchemy.exc.InterfaceError,
        sqlalchemy.exc.PendingRollbackError,  # of a transaction whose connection was lost before
    )
    return isinstance(cause, lost)


def _wait(storage: RetryingStorage, since: float | None, error: Exception) -> float:
    now = time.monotonic()
    if since is None:
        since = now
        storage.notify("the record's database does not answer; waiting for it")
    if now - since > TIMEOUT:
        where, reason = storage.url, first_line(error.__cause__ or error, length=200)
        raise DatabaseUnavailable(
            f"the record's database {where} did not answer for {TIMEOUT / 60:.0f} minutes ({reason}); "
            f"continue with --resume {storage._study} when it is back"
        )
    time.sleep(RETRY_EVERY)
    return since


for _name in _METHODS:
    setattr(RetryingStorage, _name, _with_retries(getattr(RDBStorage, _name)))
