"""Sends to MLflow what it lacks of a study that nobody runs: one that ended while the server was away, one
that was killed, or one that is wanted on another server. Whatever is there already is not sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna

from rigsl.config import read_toml
from rigsl.errors import UserError
from search import run_folder
from search.export.best import Exported, read_metrics
from search.plan.addresses import check_uri
from search.record import lock, record
from search.run_folder import BEST, CURVE, SYSTEM, TRIALS
from search.tracking.client import set_manners
from search.tracking.tracker import Tracker

#: Attempts, the seconds between them, and those that a request may take: nothing waits for it but the user.
ATTEMPTS, PAUSE, TIMEOUT = 3, 2.0, 60
#: Trials between two lines of progress.
TELL = 25


@dataclass(frozen=True)
class Place:
    """Which study, and which MLflow."""

    name: str
    folder: Path
    tracking_uri: str


@dataclass(frozen=True)
class Synced:
    """What was sent; all zero where MLflow was up to date."""

    tracking_uri: str
    runs: int  #: that MLflow did not have
    metrics: int  #: values of metrics
    files: int  #: of the report and the best model
    problem: str | None  #: why something is still missing
    page: str  #: of MLflow, below its address


def sync(
    folder: Path,
    tracking_uri: str | None = None,
    storage: str | None = None,
    told: Callable[[str], object] = lambda text: None,
) -> Synced:
    """Bring MLflow up to date with the study in the run folder `folder`.

    Args:
        folder: of the study.
        tracking_uri: MLflow; by default the study's own.
        storage: where the study's database is now; by default where it was.
        told: hears how far it is.

    Raises:
        UserError: there is no study, another process runs it, or an address is none.
    """
    folder = folder.resolve()
    options = read_toml(folder / run_folder.STUDY)
    uri = tracking_uri or options["tracking_uri"]
    check_uri(uri)
    set_manners(TIMEOUT)
    refusal = f"study {folder.name} is being run by another process, which keeps MLflow up to date"
    with lock.held(folder / run_folder.LOCK, refusal):
        if not any((folder / TRIALS).glob("*")):
            raise UserError(f"study {folder.name}: has no trial yet; there is nothing to send")
        record.read_record(folder, storage)  # a database that does not hold the study gets no empty one
        name = options.get("record", options["study"])
        study = record.open_record(folder, name, storage or options.get("storage"))
        tracker = Tracker(Place(folder.name, folder, uri), study)
        _let_stand(tracker, study, folder)
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE)
            if tracker.send(lambda done, of: _tell(told, done, of)):
                break
        sent = tracker.sent
    return Synced(uri, sent["runs"], sent["metrics"], sent["files"], tracker.problem, tracker.page)


def _let_stand(tracker: Tracker, study: optuna.Study, folder: Path) -> None:
    """Note how the study stands: finished, or interrupted, perhaps after an earlier finish."""
    metrics = read_metrics(folder / BEST)
    exported = Exported(folder / BEST, metrics) if metrics else None
    standing = str(study.user_attrs.get(record.STANDING, ""))
    if standing.startswith("finished: "):
        tracker.done(standing.removeprefix("finished: "), exported)
        return
    if exported is not None:
        tracker.done(metrics["ending"], exported)
    tracker.interrupted(_last_sign(folder))


def _last_sign(folder: Path) -> int:
    """When the study last wrote something (ms since 1970)."""
    written = [folder / run_folder.STUDY, folder / SYSTEM, *folder.glob(f"trials/*/{CURVE}")]
    return int(1000 * max(path.stat().st_mtime for path in written if path.is_file()))


def _tell(told: Callable[[str], object], done: int, of: int) -> None:
    if of and (done == of or done % TELL == 0):
        told(f"{done} of {of} trials are up to date")
