"""A search on real Ray whose real MLflow server hangs, comes back and dies; later it is sent the rest."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.record import record
from search.study import run
from search.tracking import tracker as tracking
from search.tracking.sync import sync
from tests.helpers.listeners import Bystander
from tests.helpers.loopback import free_port, get_json
from tests.helpers.mlflow_contents import assert_held
from tests.helpers.toy_study import toy_plan

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("shared_ray")]


class Server:
    """An MLflow server with one worker, on a database and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command = [
            *(str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{folder}/server.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        log = subprocess.DEVNULL
        self._process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def wait(self) -> None:
        get_json(f"{self.uri}/api/2.0/mlflow/experiments/get?experiment_id=0")

    def signal(self, number: int) -> None:
        """To the server and its worker."""
        assert self._process is not None
        os.killpg(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait()
            self._process = None

    def end(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)


@pytest.fixture
def epochs() -> int:
    return 20


@pytest.fixture
def server(tmp_path: Path, empty_mlflow: Path) -> Iterator[Server]:
    shutil.copy(empty_mlflow, tmp_path / "server.db")
    server = Server(tmp_path)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.end()


class Saboteur(Bystander):
    """Stops the server in the middle of the search for longer than a request may take; later it kills it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stopped, self.killed = False, False

    def started(self, trial, config, resumed) -> None:
        if trial.number == 5 and not self.killed:
            self.again.join()
            self.server.signal(signal.SIGKILL)
            self.killed = True

    def epoch(self, number, report) -> None:
        if not self.stopped:
            self.server.signal(signal.SIGSTOP)
            self.stopped = True
            self.again = threading.Timer(2.5, self.server.signal, (signal.SIGCONT,))
            self.again.start()


def test_a_server_that_hangs_and_dies_is_sent_everything_later(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    for name in ("UPDATE_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(tracking, name, 0.2)
    finals = {"finalists": 2, "finalist_seeds": 1, "test_seeds": 1}
    plan = toy_plan(home, trials=8, tracking_uri=server.uri, scheduler="none", **finals)
    saboteur = Saboteur(server)
    outcome = run(plan, listeners=[saboteur])
    assert saboteur.killed
    assert outcome.counts == {"complete": 8, "pruned": 0, "failed": 0, "running": 0}
    assert outcome.exported is not None
    assert f"{server.uri} refuses the connection; not sent: the study's run and trials" in str(
        outcome.tracking_problem
    )
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    down = sync(plan.folder)
    assert (down.runs, "refuses the connection" in str(down.problem)) == (0, True)
    server.start()
    server.wait()
    assert sync(plan.folder).problem is None
    assert_held(server.uri, plan.folder)
    again = sync(plan.folder)
    assert (again.problem, again.runs, again.metrics, again.files) == (None, 0, 0, 0)
    assert_held(server.uri, plan.folder)
    assert record.seconds(record.read_record(plan.folder)) > 0
