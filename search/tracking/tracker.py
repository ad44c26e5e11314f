"""The study in MLflow: a parent run with one child run a trial, written by one background thread.

Ray's MLflow callback writes synchronously between epochs, flat, and doubles runs on a resume. Here the driver
only leaves notes; a thread brings MLflow up to date every few seconds, in batches, and tries again when it
cannot. Nothing is lost with the notes: all of it is in the run folder and the record, too, from which the
next start of the study, or search/tracking/sync.py, sends what MLflow lacks.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import optuna

from rigsl.data.corpus import Corpus
from search.export.best import Exported
from search.record import record
from search.record.storage import without_password
from search.tracking.client import in_words, is_refusal, set_manners
from search.tracking.event_log import Notes
from search.tracking.registry import Registration
from search.tracking.run_state import PARENT, read_frame
from search.tracking.system_metrics import Sampler
from search.tracking.writer import Writer

#: Seconds between two visits to MLflow, and between two attempts when it is away.
EVERY, AGAIN = 3.0, 10.0
#: Seconds that the end of a study goes on trying, that it waits at all (a request may be under way), and that
#: it waits without a word.
TRYING, LAST, SILENT = 15.0, 25.0, 2.0
#: Study attribute: the tag by which its run is found in any MLflow.
KEY = "mlflow_key"


class Tracked(Protocol):
    """What the tracker needs of a plan; everything else it reads from the run folder."""

    @property
    def name(self) -> str:
        """Of the study."""

    @property
    def folder(self) -> Path:
        """Its run folder."""

    @property
    def tracking_uri(self) -> str:
        """Where MLflow is."""


class Tracker(Notes):
    """Brings MLflow up to date in the background; a listener of the study's events.

    Args:
        plan: which study, and which MLflow.
        study: its open record, which gets the study's key where it has none.
        told: hears when the end of the study waits for MLflow.
    """

    def __init__(
        self, plan: Tracked, study: optuna.Study, told: Callable[[str], object] = lambda text: None
    ) -> None:
        if KEY not in study.user_attrs:
            study.set_user_attr(KEY, uuid.uuid4().hex)
        super().__init__(read_frame(plan.folder, plan.name), study)
        self._uri, self._told = plan.tracking_uri, told
        self._writer = Writer(self._uri, self.frame.options["dataset"], study.user_attrs[KEY])
        self._trouble = ""  #: why MLflow is not up to date, to follow its address
        self._refused: dict[int, str] = {}  #: runs that MLflow does not take, and why
        self._wake, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        before = max(record.seconds(study), *(step + 1.0 for step in self.runs[PARENT].last.values()), 0.0)
        self._sampler = Sampler(plan.folder, before, self.system)

    @property
    def page(self) -> str:
        """Where MLflow's pages show the trials, below the server's address; empty while that is unknown.

        The address says what kind of runs they are: MLflow would open on traces of language models.
        """
        runs = f"/#/experiments/{self._writer.experiment}/runs?workflowType=machine_learning"
        return runs if self._writer.experiment else ""

    @property
    def sent(self) -> Counter[str]:
        """How much was sent: "runs" that MLflow did not have, values of "metrics", "files"."""
        return self._writer.sent

    @property
    def problem(self) -> str | None:
        """Why MLflow is not up to date, and what it lacks; None where nothing went wrong."""
        trouble = self._trouble or next(iter(self._refused.values()), "")
        if not trouble:
            return None
        missing = {*self.missing(), *self._refused}
        names = ["the study's run"] if PARENT in missing else []
        if trials := [str(number) for number in sorted(missing) if number != PARENT]:
            several = f"{len(trials)} trials" if len(trials) > 10 else f"trials {', '.join(trials)}"
            names.append(f"trial {trials[0]}" if len(trials) == 1 else several)
        return f"{without_password(self._uri)} {trouble}; not sent: {' and '.join(names)}"

    def __enter__(self) -> Tracker:
        set_manners()
        self._thread.start()
        self._sampler.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.interrupted()
        self._sampler.stop()
        self._writer.deadline = time.monotonic() + TRYING
        self._end.set()
        self._wake.set()
        self._thread.join(SILENT)
        if self._thread.is_alive():
            self._told(f"waiting for MLflow, at most {LAST:.0f} seconds")
            self._thread.join(LAST - SILENT)
        if self._thread.is_alive():
            self._trouble = self._trouble or in_words(TimeoutError("timed out"))

    def send(self, told: Callable[[int, int], object] = lambda done, of: None, *, last: bool = True) -> bool:
        """Bring MLflow up to date, here and now; whether that went well: `problem` says why not.

        Args:
            told: hears how many trials of how many are up to date.
            last: whether nothing will be sent after this.
        """
        try:
            self._visit(told, last)
            self._trouble = ""
        except Exception as error:
            self._trouble = in_words(error)
            self.lighten()
        return not self._trouble

    def register(self, exported: Exported, corpus: Corpus) -> Registration | None:
        """Put the exported model into MLflow's registry; None where MLflow is not up to date.

        To be called when nothing else is sent any more.
        """
        if self._trouble or not self._writer.knows(PARENT):
            return None
        metrics = exported.metrics
        tags = {"study": metrics["study"], "trial": str(metrics["trial"]), "seed": str(metrics["seed"])}
        return self._writer.register(exported.folder, corpus, tags)

    def _work(self) -> None:
        """The thread: visit MLflow until the study ends and everything is there."""
        while True:
            last, known = self._end.is_set(), bool(self._trouble)
            if self.send(last=last):
                if last:
                    return
            elif self._end.is_set() and (known or time.monotonic() > self._writer.deadline):
                return  # who did not answer before was asked once more
            self._wake.wait((1.0 if last else AGAIN) if self._trouble else EVERY)
            self._wake.clear()

    def _visit(self, told: Callable[[int, int], object], last: bool) -> None:
        self._writer.find(last=last)
        missing = self.missing()
        trials = [number for number in missing if number != PARENT]
        if not self._writer.knows(PARENT):  # the trials' runs hang below it
            self._bring(PARENT)
        for done, number in enumerate(trials):
            told(done, len(trials))
            self._bring(number)
        told(len(trials), len(trials))
        if PARENT in missing:
            self._bring(PARENT)

    def _bring(self, number: int) -> None:
        """Bring one run up to date; notes that come meanwhile are for the next visit."""
        run = self.runs[number]
        with self.lock:
            copy = run.copy()
        count = len(copy.entries)
        try:
            self._writer.bring(copy)
            self._refused.pop(number, None)
        except Exception as error:
            if not (is_refusal(error) and self._writer.knows(PARENT)):
                raise
            self._refused[number] = in_words(error)
        with self.lock:
            run.sent, run.load = copy.noted, None
            del run.entries[:count]
            if not run.dirty:
                run.artifacts = []
                if number != PARENT and run.end is not None:
                    del self.runs[number]
                    self._writer.forget(number)
