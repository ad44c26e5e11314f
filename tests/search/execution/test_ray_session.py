"""A private Ray instance: nobody else can reach it, and it leaves nothing behind."""

import contextlib
import ipaddress
import os
import socket
import sys
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import ray

from rigsl.files import permissions
from search.execution import ray_folder, ray_session
from search.resources import cluster
from search.resources.cluster import PRIVATE
from search.resources.workers import Workers
from tests.helpers.planted_secret import files_with_secret
from tests.helpers.ray_nodes import RayNodes

#: What a user has set for a cluster; a private instance neither uses nor keeps it.
CLUSTER = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "of-the-cluster",
    "RAY_AUTH_TOKEN_PATH": "/no/such/file",
}


@dataclass
class Session:
    """What was seen while a private instance ran, and afterwards."""

    listening: list[tuple[str, str]] = field(default_factory=list)  #: process, and address it listens at
    token: str = ""
    worker_token: str | None = ""
    prepared: bool = False  #: whether its first process had imported what a trial needs
    command_lines: str = ""
    mode: int = 0  #: permissions of its folder
    sockets: list[str] = field(default_factory=list)  #: their paths
    files: list[str] = field(default_factory=list)  #: those that hold the token
    left: list[Path] = field(
        default_factory=list
    )  #: in home and in the place for temporary files, at the end
    environment: dict[str, str | None] = field(default_factory=dict)  #: CLUSTER's names, at the end


def inet(process: psutil.Process) -> set[tuple[str, str, int]]:
    """The addresses at which a process can be reached: name, address, port."""
    found = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        for connection in process.net_connections(kind="inet"):
            waits = connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
            if waits and connection.laddr and not connection.raddr:
                found.add((process.name(), connection.laddr.ip, connection.laddr.port))
    return found


def _imported(name: str) -> bool:
    """Whether this process has imported the module `name`."""
    return name in sys.modules


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """A private instance in a place for temporary files whose name is as long as one may be."""
    seen = Session()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        outer = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s-", dir="/tmp")))
        place, home = outer / ("p" * (ray_folder._MAX_PLACE - len(str(outer)) - 1)), outer / "home"
        place.mkdir()
        home.mkdir()
        patch.setattr(tempfile, "tempdir", str(place))
        patch.setenv("HOME", str(home))
        for name, value in CLUSTER.items():
            patch.setenv(name, value)
        here = psutil.Process()
        before = inet(here)
        with ray_session.running(Workers(1, "cpu"), 0):
            seen.token = os.environ["RAY_AUTH_TOKEN"]
            seen.worker_token = ray.get(ray.remote(os.getenv).remote("RAY_AUTH_TOKEN"))
            seen.prepared = ray.get(ray.remote(_imported).remote(cluster.WORKER))
            processes = [here, *here.children(recursive=True)]
            reached = set().union(*map(inet, processes)) - before
            seen.listening = sorted({(name, address) for name, address, _ in reached})
            seen.command_lines = "\n".join(" ".join(process.cmdline()) for process in processes)
            (folder,) = place.glob(f"{PRIVATE}*")
            seen.mode = permissions(folder)
            seen.sockets = [str(path) for path in folder.rglob("*") if path.is_socket()]
            seen.files = files_with_secret(outer, seen.token)
        seen.left = [*place.iterdir(), *home.iterdir()]
        seen.environment = {name: os.environ.get(name) for name in CLUSTER}
        yield seen


def test_no_process_of_it_listens_at_an_address_that_other_machines_reach(session: Session) -> None:
    assert {"gcs_server", "raylet"} <= {name for name, _ in session.listening}
    for name, text in session.listening:
        address = ipaddress.ip_address(text)
        address = getattr(address, "ipv4_mapped", None) or address
        assert address.is_loopback, f"{name} listens at {address}"


def test_no_other_user_reaches_its_sockets_and_logs(session: Session) -> None:
    assert session.mode == 0o700
    assert len(session.sockets) >= 2
    longest_id = len(str(2**22))  # of a process on Linux; it is part of the name
    for path in session.sockets:
        assert len(path.encode()) + longest_id - len(str(os.getpid())) <= 107


def test_its_token_is_its_own_and_travels_in_the_environment_only(session: Session) -> None:
    assert len(session.token) >= 32
    assert session.token != CLUSTER["RAY_AUTH_TOKEN"]
    assert session.worker_token == session.token
    assert session.token not in session.command_lines
    assert session.files == []


def test_its_processes_have_imported_what_a_trial_needs_before_there_is_one(session: Session) -> None:
    assert session.prepared


def test_processes_that_no_trial_will_use_import_nothing() -> None:
    assert ray_session._preloading(Workers(4, "cpu", cpus=1))
    assert ray_session._preloading(Workers(4, "cuda", cpus=16, gpus=1.0)) == {}


def test_it_leaves_nothing_behind_and_what_is_set_for_a_cluster_as_it_was(session: Session) -> None:
    assert session.left == []
    assert session.environment == CLUSTER


def test_a_cluster_without_a_token_can_be_joined_afterwards(
    session: Session, nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CLUSTER:
        monkeypatch.delenv(name, raising=False)
    with ray_session.running(Workers(1, "cpu"), 0):
        assert "RAY_AUTH_TOKEN" in os.environ
    assert not {*CLUSTER} & {*os.environ}
    with cluster.joined(nodes.address):
        assert ray.get(ray.remote(os.getenv).remote("RAY_AUTH_TOKEN")) is None


def test_nothing_of_ray_is_left_to_be_collected_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Circle:
        def __init__(self) -> None:
            self.itself = self

    left: list[weakref.ref[Circle]] = []
    at_the_end: list[bool] = []

    @contextlib.contextmanager
    def no_ray(*_: object) -> Iterator[None]:
        yield
        at_the_end.append(left[0]() is None)

    monkeypatch.setattr(ray_session, "_ray", no_ray)
    with ray_session.running(Workers(1, "cpu"), 0):
        left.append(weakref.ref(Circle()))
    assert at_the_end == [True]
