"""Writes to MLflow what it lacks of the runs of a study.

Every write can be repeated safely: a run is found by its tags, a step is written once, and a metric's value
and time do not depend on when it is sent. So it does no harm if a server did what a lost answer was to
confirm, or if a study is sent twice.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.data.corpus import Corpus
from rigsl.files import sha256
from search.export.best import ExportedModel
from search.tracking.client import connect
from search.tracking.registry import Registration, register_best
from search.tracking.run_state import PARENT, RunState

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Metrics in one request: MLflow takes 1000 values, parameters (up to 100) and tags (up to 100) included.
BATCH = 800
#: Runs in one answer of a search.
PAGE = 500
#: Tags by which a study's runs are found again.
STUDY_KEY, PARENT_ID = "study_key", "mlflow.parentRunId"
#: Tag: SHA-256 of the names and contents of a run's files.
FILES = "files_sha256"
#: MLflow's limits on the length of a tag and of a parameter.
TAG_LENGTH, PARAM_LENGTH = 5000, 6000


@dataclass
class RemoteRun:
    """What MLflow has of one run."""

    run_id: str
    status: str = "RUNNING"
    end: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    last_steps: dict[str, int] = field(default_factory=dict)  #: metric -> last step; MLflow has all before it

    def lacks_history(self, run: RunState) -> bool:
        """Whether MLflow lacks something that `run.load` would read."""
        return not self.params or any(
            self.last_steps.get(name, -1) < step for name, step in run.last_steps.items()
        )

    def status_differs(self, run: RunState) -> bool:
        """Whether status or end differ; the time of an interruption does not count."""
        final = run.status != "RUNNING" and run.tags["state"] != "interrupted"
        return self.status != run.status or (final and self.end != run.end)


class Writer:
    """The runs of one study in one MLflow.

    Args:
        uri: address of the tracking server or database.
        dataset: names the experiment.
        key: of the study; a tag by which its run is found.
    """

    def __init__(self, uri: str, dataset: str, key: str) -> None:
        self.uri, self.dataset, self.key = uri, dataset, key
        self.experiment = ""  #: its id; empty until the first connection
        self.deadline = math.inf  #: on the monotonic clock; no request starts after it
        self.sent: Counter[str] = Counter()  #: "runs" created, "metrics" written, "files" sent
        self._client: MlflowClient | None = None
        self._remote: dict[int, RemoteRun] = {}
        self._stale = True  #: whether MLflow may have runs that are not in `_remote`
        self._answer_lost = False  #: whether the answer to a creation was ever lost

    @property
    def _mlflow(self) -> MlflowClient:
        assert self._client is not None
        if time.monotonic() > self.deadline:
            raise TimeoutError("timed out")
        return self._client

    def find_runs(self, *, last: bool = False) -> None:
        """Look up the study's runs in MLflow, if they are not known for certain.

        A server that hung may create a run after its answer was given up; the `last` look finds those, too.
        """
        if self._client is None:
            self._client, self.experiment = connect(self.uri, self.dataset)
        if not self._stale and not (last and self._answer_lost):
            return
        remote: dict[int, RemoteRun] = {}
        for _, run in self._search(STUDY_KEY, self.key):
            self._keep_one(remote, PARENT, run)
        if PARENT in remote:
            for number, run in self._search(PARENT_ID, remote[PARENT].run_id):
                self._keep_one(remote, number, run)
        self._remote, self._stale = remote, False

    def update(self, run: RunState) -> None:
        """Send what MLflow lacks of `run`."""
        remote = self._remote.get(run.number)
        if remote is None or remote.lacks_history(run):
            run.load()
        remote = remote or self._create(run)
        self._log(run, remote)
        if remote.status_differs(run):
            if run.status == "RUNNING":
                self._mlflow.update_run(remote.run_id, status="RUNNING")
            else:
                self._mlflow.set_terminated(remote.run_id, run.status, run.end)
            remote.status, remote.end = run.status, run.end
        if run.artifacts:
            self._send_files(run.artifacts, remote)

    def register(self, exported: ExportedModel, corpus: Corpus, promote: bool = False) -> Registration:
        """Register the exported checkpoint as the model of the study's run; see `register_best`."""
        self.deadline = math.inf
        return register_best(self._mlflow, self._remote[PARENT].run_id, exported, corpus, promote=promote)

    def forget(self, number: int) -> None:
        """Keep only the id of an ended run, to which nothing will be written any more."""
        if number in self._remote:
            self._remote[number] = RemoteRun(self._remote[number].run_id)

    def has(self, number: int) -> bool:
        """Whether MLflow has a run of this number."""
        return number in self._remote

    def _log(self, run: RunState, remote: RemoteRun) -> None:
        """Write the tags, parameters and metrics that MLflow lacks, in as few requests as it allows."""
        from mlflow.entities import Metric, Param, RunTag

        tags = {name: value[:TAG_LENGTH] for name, value in run.tags.items()}
        tags = {name: value for name, value in tags.items() if remote.tags.get(name) != value}
        params = {
            name: value[:PARAM_LENGTH] for name, value in run.params.items() if name not in remote.params
        }
        metrics = [
            Metric(name, value, stamp, step)
            for step, stamp, values in run.entries
            for name, value in values.items()
            if step > remote.last_steps.get(name, -1)
        ]
        while tags or params or metrics:
            batch, metrics = metrics[:BATCH], metrics[BATCH:]
            self._mlflow.log_batch(
                remote.run_id,
                metrics=batch,
                params=[Param(name, value) for name, value in params.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
                synchronous=True,  # a user's MLFLOW_ENABLE_ASYNC_LOGGING would hide a failure
            )
            remote.tags |= tags
            remote.params |= set(params)
            remote.last_steps |= {metric.key: metric.step for metric in batch}
            self.sent["metrics"] += len(batch)
            tags, params = {}, {}

    def _send_files(self, artifacts: Sequence[tuple[Path, str]], remote: RemoteRun) -> None:
        """Send the files, unless MLflow has exactly these: a tag tells, set after the last file."""
        contents = "".join(f"{folder}/{path.name} {sha256(path)}" for path, folder in artifacts)
        digest = hashlib.sha256(contents.encode()).hexdigest()
        if remote.tags.get(FILES) == digest:
            return
        for path, folder in artifacts:
            self._mlflow.log_artifact(remote.run_id, str(path), folder or None)
            self.sent["files"] += 1
        self._mlflow.set_tag(remote.run_id, FILES, digest, synchronous=True)
        remote.tags[FILES] = digest

    def _create(self, run: RunState) -> RemoteRun:
        """Create the run in MLflow; until the answer arrives it is not known whether it exists."""
        kind = {"kind": "study", STUDY_KEY: self.key} if run.number == PARENT else {"kind": "trial"}
        tags = {**kind, **{name: value[:TAG_LENGTH] for name, value in run.tags.items()}}
        if run.number != PARENT:
            tags[PARENT_ID] = self._remote[PARENT].run_id
        client, lost_before = self._mlflow, self._answer_lost
        self._stale, self._answer_lost = True, True
        created = client.create_run(self.experiment, start_time=run.start, run_name=run.name, tags=tags)
        self._stale, self._answer_lost = False, lost_before
        self.sent["runs"] += 1
        remote = self._remote[run.number] = RemoteRun(created.info.run_id, tags=tags)
        return remote

    def _search(self, tag: str, value: str) -> Iterator[tuple[int, RemoteRun]]:
        """The runs with this tag: number of the trial, run."""
        query, token = f"tags.`{tag}` = '{value}'", None
        while True:
            page = self._mlflow.search_runs([self.experiment], query, max_results=PAGE, page_token=token)
            for run in page:
                number = int(run.data.tags.get("trial", PARENT))
                info, data = run.info, run.data
                steps = {metric.key: metric.step for metric in data._metric_objs}
                remote = RemoteRun(
                    info.run_id, info.status, info.end_time, dict(data.tags), set(data.params), steps
                )
                yield number, remote
            token = page.token
            if not token:
                return

    def _keep_one(self, remote: dict[int, RemoteRun], number: int, run: RemoteRun) -> None:
        """Add a run to `remote`; of two with one number, which a lost answer leaves, keep the one in use."""
        other = remote.get(number)
        if other is None:
            remote[number] = run
            return
        in_use, spare = sorted(
            (other, run), key=lambda each: (-len(each.params) - len(each.last_steps), each.run_id)
        )
        remote[number] = in_use
        if not spare.params and not spare.last_steps:
            self._mlflow.delete_run(spare.run_id)
