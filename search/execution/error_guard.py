"""Errors of our own code inside Ray's callbacks: the first one stops the run in good order and is raised.

Ray Tune logs what a searcher raises in `on_trial_complete`, hands the trial out again, and turns what it
raises elsewhere into a `TuneError` with a nested traceback (tune/execution/tune_controller.py). A record that
cannot be written (disk full, database away for good) would then cost finished trials.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rigsl.errors import UserError, first_line
from rigsl.files import intended, is_storage_error
from search.run_folder import STUDY


class StorageFailure(OSError):
    """A worker could not write a training's files."""


@contextlib.contextmanager
def storage_errors_in_words(folder: Path) -> Iterator[None]:
    """Turn an error of the storage inside this block into a sentence; `folder`: of the study.

    Raises:
        UserError: a file could not be written, or another one with the advice to resume the study.
    """
    try:
        yield
    except UserError as error:  # such as of a checkpoint that is away, or of a cluster
        if "--resume" in str(error):
            raise
        raise UserError(f"{error}; go on with --resume {folder.name}") from error
    except Exception as error:
        away = isinstance(error, OSError) and not (folder / STUDY).is_file()
        was_away = isinstance(error, FileNotFoundError) and _is_in(folder, error.filename)
        if not (away or was_away or isinstance(error, StorageFailure) or is_storage_error(error)):
            raise
        reason, path = first_line(error, length=300), folder
        if isinstance(error, OSError) and error.strerror:
            reason, path = error.strerror, intended(Path(error.filename or folder))
        raise UserError(
            f"{path}: cannot be written ({reason}); make room or repair it, and go on with --resume "
            f"{folder.name}"
        ) from error


def _is_in(folder: Path, path: str | None) -> bool:
    return path is not None and Path(path).is_relative_to(folder)


class ErrorGuard:
    """Remembers the first error of the methods that it protects; after it they do nothing any more.

    What was not written stays as it is: trials in the record keep running, so that a resume continues them.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def protect(self, owner: Any, results: Mapping[str, Any]) -> None:
        """Let methods of `owner` raise nothing; `results`: method -> what it returns after an error."""
        for name, result in results.items():
            setattr(owner, name, self._guarded(getattr(owner, name), result))

    def stop_after_error(self, stopper: Any) -> None:
        """Let `stopper` end the run when there is an error."""
        stop_all = stopper.stop_all
        stopper.stop_all = lambda: self.error is not None or stop_all()

    def _guarded(self, method: Any, result: Any) -> Any:
        def guarded(*arguments: Any, **options: Any) -> Any:
            if self.error is not None:
                return result
            try:
                return method(*arguments, **options)
            except Exception as error:
                self.error = error
                return result

        return guarded
