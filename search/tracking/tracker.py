"""The study in MLflow: a parent run with one child run per trial, written by one background thread.

Ray's MLflow callback writes synchronously between epochs, without parent runs, and duplicates runs on a
resume. Here the driver only notes events in memory; a thread brings MLflow up to date every few seconds, in
batches, and retries while MLflow is away. Losing these notes loses nothing: the run folder and the record
have everything, and the next start of the study, or search/tracking/sync.py, sends what MLflow lacks.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna

from rigsl.data.corpus import Corpus
from rigsl.redaction import redacted
from rigsl.wording import counted, listed
from search.export.best import ExportedModel
from search.record import record
from search.record.trial_report import TrialReport
from search.tracking.client import configure_mlflow_env, describe_error, is_refusal
from search.tracking.event_log import EventLog
from search.tracking.registry import Registration
from search.tracking.run_state import PARENT, read_context
from search.tracking.system_metrics import SystemMonitor
from search.tracking.writer import Writer

#: Seconds between two updates of MLflow, and between two attempts while it is away.
UPDATE_SECONDS, RETRY_SECONDS = 3.0, 10.0
#: Most seconds that the first update waits for the first epoch, which the import of MLflow would delay.
START_SECONDS = 10.0
#: At the end of a study, seconds in which requests may still start, seconds until the tracker stops waiting
#: (a request may be under way), and seconds until the user is told that it waits.
END_REQUEST_SECONDS, END_WAIT_SECONDS, END_SILENT_SECONDS = 15.0, 25.0, 2.0
#: Study attribute: the value of the tag by which the study's run is found in any MLflow.
KEY = "mlflow_key"
#: Most trials that `Tracker.problem` lists by number.
NAMED_TRIALS = 10


class Tracker(EventLog):
    """Brings MLflow up to date in the background; a listener of the study's events.

    Args:
        folder: the run folder of the study.
        tracking_uri: address of MLflow.
        study: its open record, which gets the attribute KEY if it has none.
        notify: called with a message when the end of the study waits for MLflow.
    """

    def __init__(
        self,
        folder: Path,
        tracking_uri: str,
        study: optuna.Study,
        notify: Callable[[str], object] = lambda text: None,
    ) -> None:
        if KEY not in study.user_attrs:
            study.set_user_attr(KEY, uuid.uuid4().hex)
        super().__init__(read_context(folder), study)
        self._uri, self._notify = tracking_uri, notify
        self._writer = Writer(tracking_uri, self.context.options["dataset"], study.user_attrs[KEY])
        self._trouble = ""  #: why MLflow is not up to date: a predicate of its address; empty: it is
        self._refused: dict[int, str] = {}  #: runs that MLflow refuses, and why
        self._begun, self._wake, self._end = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        last_steps = self.runs[PARENT].last_steps.values()
        before = max(record.total_seconds(study), *(step + 1.0 for step in last_steps), 0.0)
        self._monitor = SystemMonitor(folder, before, self.system)

    @property
    def page(self) -> str:
        """MLflow's page of the trials, relative to the server's address; empty before the first connection.

        It names the kind of runs, because MLflow would open on traces of language models.
        """
        runs = f"/#/experiments/{self._writer.experiment}/runs?workflowType=machine_learning"
        return runs if self._writer.experiment else ""

    @property
    def sent(self) -> Counter[str]:
        """What was sent so far: "runs" created, values of "metrics", "files"."""
        return self._writer.sent

    @property
    def problem(self) -> str | None:
        """Why MLflow is not up to date, and which runs are affected; None: nothing went wrong."""
        trouble = self._trouble or next(iter(self._refused.values()), "")
        if not trouble:
            return None
        numbers = {*self.pending(), *self._refused}
        names = ["the study's run"] if PARENT in numbers else []
        if trials := [str(number) for number in sorted(numbers) if number != PARENT]:
            names.append(
                counted(len(trials), "trial")
                if len(trials) > NAMED_TRIALS
                else f"trial{'' if len(trials) == 1 else 's'} {', '.join(trials)}"
            )
        return f"{redacted(self._uri)} {trouble}; not sent: {listed(names)}"

    def __enter__(self) -> Tracker:
        configure_mlflow_env()
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.interrupted()
        self._monitor.stop()
        self._writer.deadline = time.monotonic() + END_REQUEST_SECONDS
        self._end.set()
        self._begun.set()
        self._wake.set()
        self._thread.join(END_SILENT_SECONDS)
        if self._thread.is_alive():
            self._notify(f"waiting for MLflow, at most {END_WAIT_SECONDS:.0f} seconds")
            self._thread.join(END_WAIT_SECONDS - END_SILENT_SECONDS)
        if self._thread.is_alive():
            self._trouble = self._trouble or describe_error(TimeoutError("timed out"))

    def send(
        self,
        on_progress: Callable[[int, int], object] = lambda done, total: None,
        *,
        last: bool = True,
    ) -> bool:
        """Bring MLflow up to date, in this thread; returns whether that succeeded: if not, see `problem`.

        Args:
            on_progress: called with the number of trials that are up to date, and their total.
            last: whether nothing will be sent after this.
        """
        try:
            self._update_all(on_progress, last)
            self._trouble = ""
        except Exception as error:
            self._trouble = describe_error(error)
            self.drop_buffers()
        return not self._trouble

    def register(self, exported: ExportedModel, corpus: Corpus, promote: bool = False) -> Registration | None:
        """Put the exported model into MLflow's registry; None: MLflow is not up to date.

        Call it after everything else was sent. For `promote` see `register_best`.
        """
        if self._trouble or not self._writer.has(PARENT):
            return None
        return self._writer.register(exported, corpus, promote)

    def epoch(self, number: int, report: TrialReport) -> None:
        """Add the metrics of one epoch of trial `number`; the first one wakes the thread."""
        super().epoch(number, report)
        self._begun.set()

    def _work(self) -> None:
        """The thread: update MLflow until the study has ended and everything is sent."""
        self._begun.wait(START_SECONDS)
        self._monitor.start()
        while True:
            last, was_in_trouble = self._end.is_set(), bool(self._trouble)
            if self.send(last=last):
                if last:
                    return
            elif self._end.is_set() and (was_in_trouble or time.monotonic() > self._writer.deadline):
                return  # a server that did not answer before got one last attempt
            self._wake.wait((1.0 if last else RETRY_SECONDS) if self._trouble else UPDATE_SECONDS)
            self._wake.clear()

    def _update_all(self, on_progress: Callable[[int, int], object], last: bool) -> None:
        """Update every run that has changed."""
        self._writer.find_runs(last=last)
        pending = self.pending()
        trials = [number for number in pending if number != PARENT]
        if not self._writer.has(PARENT):  # the trials' runs are its children
            self._update(PARENT)
        for done, number in enumerate(trials):
            on_progress(done, len(trials))
            self._update(number)
        on_progress(len(trials), len(trials))
        if PARENT in pending:
            self._update(PARENT)

    def _update(self, number: int) -> None:
        """Update one run; what is noted meanwhile is sent by the next update."""
        run = self.runs[number]
        with self.lock:
            copy = run.copy()
        sent_entries = len(copy.entries)
        try:
            self._writer.update(copy)
            self._refused.pop(number, None)
        except Exception as error:
            if not (is_refusal(error) and self._writer.has(PARENT)):
                raise
            self._refused[number] = describe_error(error)
        with self.lock:
            run.sent_changes, run.loader = copy.changes, None
            del run.entries[:sent_entries]
            if not run.pending:
                run.artifacts = []
                if number != PARENT and run.end is not None:
                    del self.runs[number]
                    self._writer.forget(number)
