"""Makes MLflow hold what the runs of a study say: looks up what is there, writes what is missing.

Whatever is written can be written again: a run is found by tags, a step is written once, a metric's value and
time do not depend on when it is sent. So a server may have done what its lost answer did not say, and a study
may be sent twice.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.data.corpus import Corpus
from rigsl.files import sha256
from search.tracking.client import connect
from search.tracking.registry import Registration, register_best
from search.tracking.run_state import PARENT, Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: MLflow takes 1000 values at a time, parameters (up to 100) and tags (up to 100) included.
BATCH = 800
#: Runs in one answer of a search.
PAGE = 500
#: Tags by which a study's runs are found again.
KEY, CHILD = "study_key", "mlflow.parentRunId"
#: Tag: SHA-256 of the names and contents of a run's files.
FILES = "files_sha256"


@dataclass
class Held:
    """What MLflow holds of one run."""

    run_id: str
    status: str = "RUNNING"
    end: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    steps: dict[str, int] = field(
        default_factory=dict
    )  #: metric -> its last step; earlier ones are there, too

    def lacks(self, run: Run) -> bool:
        """Whether something is missing that `run.load` would read."""
        return not self.params or any(self.steps.get(name, -1) < step for name, step in run.last.items())

    def stands_otherwise(self, run: Run) -> bool:
        """Whether its status or the time of its end is another; when it was interrupted does not matter."""
        over = run.status != "RUNNING" and run.tags["state"] != "interrupted"
        return self.status != run.status or (over and self.end != run.end)


class Writer:
    """The runs of one study in one MLflow.

    Args:
        uri: of the tracking server or database.
        dataset: names the experiment.
        key: of the study; its own run is found by it.
    """

    def __init__(self, uri: str, dataset: str, key: str) -> None:
        self.uri, self.dataset, self.key = uri, dataset, key
        self.experiment = ""  #: its id, once it is known
        self.deadline = math.inf  #: on the monotonic clock; no request begins later
        self.sent: Counter[str] = Counter()  #: "runs" made, "metrics" written, "files" sent
        self._client: MlflowClient | None = None
        self._held: dict[int, Held] = {}
        self._doubt = True  #: whether MLflow may hold runs that are not in `_held`
        self._late = False  #: whether an answer to a creation was ever missing

    @property
    def _mlflow(self) -> MlflowClient:
        assert self._client is not None
        if time.monotonic() > self.deadline:
            raise TimeoutError("timed out")
        return self._client

    def find(self, *, last: bool = False) -> None:
        """Look up the study's runs in MLflow, where they are not known for sure.

        A server that hung may make a run after its answer was given up: the `last` look finds those, too.
        """
        if self._client is None:
            self._client, self.experiment = connect(self.uri, self.dataset)
        if not self._doubt and not (last and self._late):
            return
        found: dict[int, Held] = {}
        for _, held in self._search(KEY, self.key):
            self._take(found, PARENT, held)
        if PARENT in found:
            for number, held in self._search(CHILD, found[PARENT].run_id):
                self._take(found, number, held)
        self._held, self._doubt = found, False

    def bring(self, run: Run) -> None:
        """Make MLflow hold what `run` says."""
        held = self._held.get(run.number)
        if held is None or held.lacks(run):
            run.read()
        held = held or self._create(run)
        self._log(run, held)
        if held.stands_otherwise(run):
            if run.status == "RUNNING":
                self._mlflow.update_run(held.run_id, status="RUNNING")
            else:
                self._mlflow.set_terminated(held.run_id, run.status, run.end)
            held.status, held.end = run.status, run.end
        if run.artifacts:
            self._send(run.artifacts, held)

    def register(self, folder: Path, corpus: Corpus, tags: Mapping[str, str]) -> Registration:
        """Register the checkpoint in `folder` as the model of the study's run."""
        self.deadline = math.inf
        return register_best(self._mlflow, self._held[PARENT].run_id, folder, corpus, self.dataset, tags)

    def forget(self, number: int) -> None:
        """Nothing more will be written to a run that has ended: keep no more than its id."""
        if number in self._held:
            self._held[number] = Held(self._held[number].run_id)

    def knows(self, number: int) -> bool:
        """Whether MLflow has a run of this number."""
        return number in self._held

    def _log(self, run: Run, held: Held) -> None:
        """Tags, parameters and metrics that are missing, in as few requests as MLflow allows."""
        from mlflow.entities import Metric, Param, RunTag

        tags = {name: value[:5000] for name, value in run.tags.items()}
        tags = {name: value for name, value in tags.items() if held.tags.get(name) != value}
        params = {name: value[:6000] for name, value in run.params.items() if name not in held.params}
        metrics = [
            Metric(name, value, stamp, step)
            for step, stamp, values in run.entries
            for name, value in values.items()
            if step > held.steps.get(name, -1)
        ]
        while tags or params or metrics:
            batch, metrics = metrics[:BATCH], metrics[BATCH:]
            self._mlflow.log_batch(
                held.run_id,
                metrics=batch,
                params=[Param(name, value) for name, value in params.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
                synchronous=True,  # a user's MLFLOW_ENABLE_ASYNC_LOGGING would hide that it failed
            )
            held.tags |= tags
            held.params |= set(params)
            held.steps |= {metric.key: metric.step for metric in batch}
            self.sent["metrics"] += len(batch)
            tags, params = {}, {}

    def _send(self, artifacts: Sequence[tuple[Path, str]], held: Held) -> None:
        """The files, unless exactly these are there: a tag says so as soon as the last one is."""
        told = "".join(f"{folder}/{path.name} {sha256(path)}" for path, folder in artifacts)
        digest = hashlib.sha256(told.encode()).hexdigest()
        if held.tags.get(FILES) == digest:
            return
        for path, folder in artifacts:
            self._mlflow.log_artifact(held.run_id, str(path), folder or None)
            self.sent["files"] += 1
        self._mlflow.set_tag(held.run_id, FILES, digest, synchronous=True)
        held.tags[FILES] = digest

    def _create(self, run: Run) -> Held:
        """Make the run; until the answer is there, nobody knows whether it exists."""
        kind = {"kind": "study", KEY: self.key} if run.number == PARENT else {"kind": "trial"}
        tags = {**kind, **{name: value[:5000] for name, value in run.tags.items()}}
        if run.number != PARENT:
            tags[CHILD] = self._held[PARENT].run_id
        client, late, self._doubt, self._late = self._mlflow, self._late, True, True
        made = client.create_run(self.experiment, start_time=run.start, run_name=run.name, tags=tags)
        self._doubt, self._late = False, late
        self.sent["runs"] += 1
        held = self._held[run.number] = Held(made.info.run_id, tags=tags)
        return held

    def _search(self, tag: str, value: str) -> Iterator[tuple[int, Held]]:
        query, token = f"tags.`{tag}` = '{value}'", None
        while True:
            page = self._mlflow.search_runs([self.experiment], query, max_results=PAGE, page_token=token)
            for run in page:
                number = int(run.data.tags.get("trial", PARENT))
                info, data = run.info, run.data
                steps = {metric.key: metric.step for metric in data._metric_objs}
                yield (
                    number,
                    Held(info.run_id, info.status, info.end_time, dict(data.tags), set(data.params), steps),
                )
            token = page.token
            if not token:
                return

    def _take(self, found: dict[int, Held], number: int, held: Held) -> None:
        """One run a number: of two, which a late answer has left, the one in use is kept."""
        other = found.get(number)
        if other is None:
            found[number] = held
            return
        kept, spare = sorted((other, held), key=lambda one: (-len(one.params) - len(one.steps), one.run_id))
        found[number] = kept
        if not spare.params and not spare.steps:
            self._mlflow.delete_run(spare.run_id)
