"""A private Ray instance: nobody else can reach it, and it leaves nothing behind."""

import contextlib
import ipaddress
import os
import socket
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import ray
from ray._private import services
from ray.tune.execution.class_cache import _ActorClassCache

from rigsl.errors import UserError
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
    reused: bool = False  #: whether a trial's actor runs in that process
    command_lines: str = ""
    programs: list[str] = field(
        default_factory=list
    )  #: its processes by the beginnings of their command lines
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


def first_worker(driver: psutil.Process) -> int:
    """Id of the process with which Ray starts, once it has registered."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for process in driver.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
                    return process.pid
        time.sleep(0.05)
    raise AssertionError("Ray has started no worker")


class _Actor:
    def process(self) -> int:
        return os.getpid()


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
        with ray_session.running(Workers(1, "cpu", cpus=2), 0):
            first = first_worker(here)
            seen.reused = ray.get(_ActorClassCache().get(_Actor).remote().process.remote()) == first
            seen.token = os.environ["RAY_AUTH_TOKEN"]
            seen.worker_token = ray.get(ray.remote(os.getenv).remote("RAY_AUTH_TOKEN"))
            seen.prepared = ray.get(ray.remote(_imported).remote(cluster.WORKER))
            processes = [here, *here.children(recursive=True)]
            seen.programs = [" ".join(process.cmdline()[:4]) for process in processes[1:]]
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


def test_a_trial_runs_in_a_process_that_is_there_already(session: Session) -> None:
    assert session.reused


def test_it_has_no_process_that_a_search_does_not_need(session: Session) -> None:
    servers = [program for program in session.programs if not program.startswith("ray::")]
    needed = ("gcs_server", "raylet/raylet", "ray_agent.py", "ray_agent.py")
    assert len(servers) == len(needed), servers
    for name in set(needed):
        assert sum(name in server for server in servers) == needed.count(name), servers


def test_a_study_takes_over_a_ray_that_was_started_early_and_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def some_ray(*_: object) -> Iterator[bool]:
        private = "starts" not in events
        events.extend(["starts"] if private else [])
        yield private
        events.extend(["ends"] if private else [])

    monkeypatch.setattr(ray_session, "_ray", some_ray)
    with ray_session.started_early(Workers(1, "cpu"), 0) as early:
        with ray_session.running(Workers(1, "cpu"), 0, early=early):
            events.append("study")
        events.append("report")
    assert events == ["starts", "study", "ends", "report"]
    events.clear()
    with ray_session.started_early(Workers(1, "cpu"), 0):
        events.append("refused")
    assert events == ["starts", "refused", "ends"]


@pytest.mark.parametrize("error", [RuntimeError("the raylet has ended."), KeyboardInterrupt()])
def test_a_ray_that_does_not_start_is_one_sentence_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Ray forgets the servers that it has started by then."""
    left = []

    def init(**options: object) -> None:
        left.append(services.ConsolePopen(["sleep", "600"]))
        left.append(Path(str(options["_temp_dir"])).parent)
        raise error

    monkeypatch.setattr(ray, "init", init)
    early = ray_session.started_early(Workers(1, "cpu"), 0)
    with pytest.raises((UserError, KeyboardInterrupt)) as raised, early:
        pass
    if isinstance(error, RuntimeError):
        assert str(raised.value).startswith("Ray cannot be started here (the raylet has ended); ")
    server, folder = left
    assert server.poll() is not None
    assert not folder.exists()


def test_a_cluster_is_not_joined_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "_ray", None)
    with ray_session.started_early(Workers(1, "cpu"), 0, "auto") as early:
        assert not early.private


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
