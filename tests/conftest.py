"""What tests share: a working directory with a toy study, one Ray, one empty MLflow database, and servers.

Whatever takes seconds is imported or started by the first test that needs it.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.helpers.shared_ray import SharedRay

if TYPE_CHECKING:
    from tests.helpers.postgres import Postgres
    from tests.helpers.ray_nodes import RayNodes


#: The files that take longest come first, so that no process is left alone with one of them at the end; among
#: them those that share a Ray, so that it is started once.
FIRST = (
    "search/test_cli.py",
    "search/test_study.py",
    "search/confirm/test_stage.py",
    "search/execution/test_lost_workers.py",
    "search/execution/test_broken_gpu.py",
    "search/test_driver_without_gpu.py",
    "search/test_registries.py",
    "search/execution/test_error_guard.py",
    "search/test_full_disk.py",
    "search/schedulers/test_pbt_study.py",
    "search/test_earlier_studies.py",
    "search/record/test_storage.py",
    "search/test_official_search.py",
    "search/test_own_corpus.py",
    "search/samplers/test_quality.py",
    "test_sbatch.py",
    "test_extending.py",
    "search/resources/test_cluster.py",
    "search/execution/test_ray_session.py",
    "benchmarks/test_efficiency.py",
    "search/samplers/test_scale.py",
    "search/test_python_api.py",
    "search/terminal/test_lost_terminal.py",
    "rigsl/model/test_invariance.py",
    "search/execution/test_signals.py",
    "rigsl/memory/test_estimate.py",
    "search/tracking/test_tracker.py",
    "search/test_planted_secret.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of `FIRST`."""
    folder = Path(__file__).parent
    order = {folder / name: index for index, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small models gain nothing from more threads, and lose much when cores are shared."""
    torch.set_num_threads(1)


@pytest.fixture
def default_signals() -> Iterator[None]:
    """The handlers of a new process: a Ray that was started in this one has left others."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


@pytest.fixture(autouse=True)
def _no_tracking_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """`mlflow.set_tracking_uri` sets this variable for the whole process, and new studies follow it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def epochs() -> int:
    """Epochs of a trial of the toy space; a module whose trials must last longer has a fixture of its own."""
    return 4


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int) -> Path:
    """The working directory: a toy corpus in ``data/``, and the toy space in ``space.toml``."""
    from tests.helpers.toy_study import write_home

    folder = write_home(tmp_path / "home", epochs=epochs)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a run, to be copied."""
    from tests.helpers.mlflow_contents import make_empty_database

    return make_empty_database(tmp_path_factory.mktemp("mlflow") / "empty.db")


@pytest.fixture
def new_mlflow_addresses() -> Iterator[None]:
    """A relative address of MLflow leads into the folder of this test, and of no other."""
    from tests.helpers.mlflow_contents import forget_addresses

    forget_addresses()
    yield
    forget_addresses()


@pytest.fixture
def tracked_home(home: Path, empty_mlflow: Path) -> Path:
    """`home` with an MLflow database in ``mlflow.db``, where searches in that directory write to."""
    shutil.copy(empty_mlflow, home / "mlflow.db")
    return home


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not flushed to the disk: for tests that write thousands of lines."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture(scope="session")
def _ray() -> Iterator[SharedRay]:
    shared = SharedRay()
    yield shared
    shared.stop()


@pytest.fixture(autouse=True, scope="module")
def _ray_for_those_who_ask(request: pytest.FixtureRequest, _ray: SharedRay) -> None:
    """A module that does not ask for the shared Ray meets none: its searches start their own."""
    items = [item for item in request.session.items if item.path == request.path]
    if not any("shared_ray" in item.fixturenames for item in items):
        _ray.stop()


@pytest.fixture(scope="module")
def shared_ray(_ray: SharedRay) -> None:
    """A running Ray, the same for all modules that ask for it."""
    _ray.start()


@pytest.fixture
def workers_here(shared_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared Ray with a search's workers in this process: for tests of what a study decides and writes."""
    from tests.helpers.workers_here import keep_workers_here

    keep_workers_here(monkeypatch)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """A Ray cluster that somebody else started: a head without cores, and two nodes with two cores each."""
    import ray

    from tests.helpers.ray_nodes import NODES, RayNodes

    cluster = RayNodes()
    try:
        for host in NODES:
            cluster.start(host)
        yield cluster
    finally:
        ray.shutdown()
        cluster.close()


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Postgres]:
    """A running PostgreSQL server with an empty database."""
    from tests.helpers.postgres import postgres, programs

    if programs() is None:
        pytest.skip("no PostgreSQL server programs here")
    with postgres() as server:
        yield server
