"""Sends to MLflow later what it lacks of a study (``--sync``).

For a study that ended while the server was away, that was killed, or that is wanted on another server.
Nothing that MLflow has already is sent again. The study must not be running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from rigsl.data.source import find_corpus
from rigsl.errors import UserError
from rigsl.redaction import redacted
from search import run_folder
from search.export.best import ExportedModel, read_metrics
from search.plan.addresses import check_uri
from search.record import lock, record, times
from search.record.learning_curve import read_curve
from search.record.study_options import read_study_options
from search.run_folder import BEST, TRIALS
from search.tracking.client import configure_mlflow_env
from search.tracking.registry import Registration
from search.tracking.system_metrics import read_system
from search.tracking.tracker import Tracker

#: Attempts, seconds between them, and the timeout of a request: longer than in a search, which nobody waits
#: for.
ATTEMPTS, RETRY_SECONDS, TIMEOUT = 3, 2.0, 60
#: Trials between two messages of progress.
MESSAGE_EVERY = 25


@dataclass(frozen=True)
class SyncResult:
    """What was sent; all zero if MLflow was up to date."""

    tracking_uri: str  #: without a password
    runs: int  #: created
    metrics: int  #: values of metrics
    files: int  #: of the report and the best model
    problem: str | None  #: why something is still missing
    page: str  #: of the trials in MLflow, relative to its address
    registered: (
        Registration | None
    )  #: the model of a finished study; None: it is not finished, or see `problem`


def sync(
    folder: Path,
    tracking_uri: str | None = None,
    storage: str | None = None,
    notify: Callable[[str], object] = lambda text: None,
    *,
    data_dir: Path | None = None,
    promote: bool = False,
) -> SyncResult:
    """Bring MLflow up to date with the study in the run folder `folder`, and register its model at its end.

    Args:
        folder: the run folder.
        tracking_uri: address of MLflow; by default the one in the study's options.
        storage: address of the record's database; by default the one in the study's options.
        notify: called with messages of progress.
        data_dir: folder of the feature files; the registered model has a dialogue of them as an example.
        promote: whether the registry's aliases move to this study's models whatever their scores.

    Raises:
        UserError: there is no such study, another process runs it, or an address is invalid.
    """
    folder = folder.resolve()
    options = read_study_options(folder)
    uri = tracking_uri or options["tracking_uri"]
    check_uri(uri)
    configure_mlflow_env(TIMEOUT)
    refusal = f"study {folder.name} is being run by another process, which keeps MLflow up to date"
    with lock.hold(folder / run_folder.LOCK, refusal):
        if not any((folder / TRIALS).glob("*")):
            raise UserError(f"study {folder.name}: has no trial yet; there is nothing to send")
        record.read_record(folder, storage)  # fails where `open_record` would create an empty study
        name = options.get("record", options["study"])
        study = record.open_record(folder, name, storage or options.get("storage"))
        tracker = Tracker(folder, uri, study)
        exported = _log_standing(tracker, study, folder)
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(RETRY_SECONDS)
            if tracker.send(lambda done, total: _notify_progress(notify, done, total)):
                break
        sent, registered = tracker.sent, None
        if exported is not None and tracker.problem is None:
            registered = _register(tracker, exported, options, data_dir, promote)
    return SyncResult(
        redacted(uri), sent["runs"], sent["metrics"], sent["files"], tracker.problem, tracker.page, registered
    )


def _register(
    tracker: Tracker,
    exported: ExportedModel,
    options: Mapping[str, Any],
    data_dir: Path | None,
    promote: bool,
) -> Registration | None:
    """Put the model into MLflow's registry, unless it is there."""
    try:
        content = options["corpus"]
        corpus, _ = find_corpus(options["dataset"], options["features"], data_dir, content=content)
        if corpus.content_hash() != content:
            raise UserError(f"{corpus.name} has another content than the study's corpus; see --data-dir")
    except UserError as error:
        return Registration("", problem=f"the model is not registered: {error}")
    return tracker.register(exported, corpus, promote)


def _log_standing(tracker: Tracker, study: optuna.Study, folder: Path) -> ExportedModel | None:
    """Log whether the study is finished or interrupted, the latter perhaps after an earlier end; -> the model
    of a finished one."""
    metrics = read_metrics(folder / BEST)
    exported = ExportedModel(folder / BEST, metrics) if metrics else None
    standing = str(study.user_attrs.get(record.STANDING, ""))
    if standing.startswith("finished: "):
        tracker.done(standing.removeprefix("finished: "), exported)
        return exported
    if exported is not None:
        tracker.done(metrics["ending"], exported)
    tracker.interrupted(_last_activity(folder, study))
    return None


def _last_activity(folder: Path, study: optuna.Study) -> int:
    """When the study last wrote something (ms since 1970): the times in its files, which a copy keeps."""
    trials = record.begun(study)
    moments = [times.ended_at(trial) or times.started_at(trial) for trial in trials]
    stamps = [moment.timestamp() for moment in moments if moment is not None]
    stamps += [float(line["time"]) for line in read_system(folder)[-1:]]
    for trial in record.running(study):
        lines = read_curve(run_folder.trial_folder(folder, trial.number))
        stamps += [float(line["time"]) for line in lines[-1:] if "time" in line]
    return int(1000 * max(stamps, default=(folder / run_folder.STUDY).stat().st_mtime))


def _notify_progress(notify: Callable[[str], object], done: int, total: int) -> None:
    if total and (done == total or done % MESSAGE_EVERY == 0):
        notify(f"{done} of {total} trials are up to date")
