"""A search on real Ray whose real MLflow server hangs, comes back and dies; later it is sent the rest."""

import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.record import record
from search.study import run
from search.tracking import tracker as tracking
from search.tracking.sync import sync
from tests.helpers.listeners import Bystander
from tests.helpers.mlflow_contents import assert_held
from tests.helpers.mlflow_server import MLflowServer
from tests.helpers.toy_study import toy_plan

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("shared_ray")]


@pytest.fixture
def epochs() -> int:
    return 20


@pytest.fixture
def server(tmp_path: Path, empty_mlflow: Path) -> Iterator[MLflowServer]:
    shutil.copy(empty_mlflow, tmp_path / "server.db")
    server = MLflowServer(tmp_path)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.end()


class Saboteur(Bystander):
    """Stops the server in the middle of the search for longer than a request may take; later it kills it."""

    def __init__(self, server: MLflowServer) -> None:
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
    home: Path, server: MLflowServer, monkeypatch: pytest.MonkeyPatch
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
