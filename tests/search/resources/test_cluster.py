"""A cluster of real Ray nodes that was started elsewhere: who may join it, and what its nodes can run."""

import contextlib
import functools
import importlib.metadata
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray

from rigsl.errors import UserError
from search.execution import node_watch
from search.resources import cluster
from search.resources.versions import PROJECT, worker_versions
from search.resources.workers import plan_workers
from search.run_folder import STUDY
from tests.helpers.ray_nodes import HEAD, NODES, RayNodes


@pytest.fixture
def no_ray_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine on which nobody has started Ray."""
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", frozenset)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def raylet(text: str) -> SimpleNamespace:
    """A raylet in the list of processes, with the address of its head and further arguments."""
    return SimpleNamespace(info={"name": "raylet", "cmdline": f"raylet --gcs-address={text}".split()})


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """The address of a server that is not Ray: it answers nothing (None), or the same to every request."""
    with socket.create_server(("127.0.0.9", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(100)
                        connection.sendall(answer or b"")

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.9:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["nonsense", "host:port", "ray://127.0.0.1:10001", ""])
def test_a_text_that_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="is not auto or HOST:PORT"):
        cluster.join(address)


def test_an_address_where_no_cluster_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(None) as closed:
        pass
    with pytest.raises(UserError, match=r"no Ray cluster answers at .* \(Connection refused\)"):
        cluster.join(closed)
    with pytest.raises(UserError, match=r"no Ray cluster answers at no-such-host\.invalid:6379"):
        cluster.join("no-such-host.invalid:6379")
    with (
        listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as other,
        pytest.raises(UserError, match="is not a Ray cluster"),
    ):
        cluster.join(other)
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT", 0.2)
    with (
        listening(None) as silent,
        pytest.raises(UserError, match=r"no Ray cluster answers at .* \(timed out\)"),
    ):
        cluster.join(silent)
    assert not ray.is_initialized()


@pytest.mark.usefixtures("no_ray_here")
def test_auto_without_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no Ray cluster runs here; start one with ray start --head"):
        cluster.join("auto")
    with listening(None) as stopped:
        monkeypatch.setenv("RAY_ADDRESS", stopped)
    with pytest.raises(UserError, match="no Ray cluster answers at"):
        cluster.join("auto")


def test_a_cluster_that_cannot_be_used_is_refused(nodes: RayNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ray._private.utils.compute_version_info", lambda: ("1.2.3", "3.11.0"))
        with pytest.raises(UserError, match=r"Version mismatch: .* Ray: 1\.2\.3 Python: 3\.11\.0"):
            cluster.join(nodes.address)
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "process_iter", lambda attributes: iter([raylet("127.0.0.1:1 /tmp/rigsl-a/r")]))
        with pytest.raises(
            UserError, match=f"this machine is not a node .* ray start --address={nodes.address}"
        ):
            cluster.join(nodes.address)
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "PRIVATE", Path(nodes.folder).name)
        with pytest.raises(UserError, match="only another search's own Ray runs here"):
            cluster.join(nodes.address)
    assert not ray.is_initialized()


def test_auto_shows_the_token_of_the_home_folder_which_ray_start_had_the_cluster_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-the-cluster", encoding="utf-8")
    protected = RayNodes(token="of-the-cluster")
    try:
        found = functools.cache(lambda: frozenset({protected.address}))
        monkeypatch.setattr("ray._private.services._cached_find_gcs_addresses", found)
        monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda folder: None)
        with cluster.joined("auto"):
            assert len(ray.nodes()) == 1
    finally:
        protected.close()
    assert "RAY_AUTH_MODE" not in os.environ


def test_a_cluster_that_does_not_let_one_in_may_demand_a_token(
    nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(
        UserError, match=r"Failed to connect .*; if it demands a token, set RAY_AUTH_MODE=token"
    ):
        cluster.join(nodes.address)


def test_auto_passes_over_the_own_ray_of_another_search(
    nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray may take the one for the other; the private one listens at 127.0.0.1 only, with its own token."""
    private = "127.0.0.1:1"
    raylets = [raylet(f"{private} /tmp/rigsl-abc/r"), raylet(nodes.address)]
    monkeypatch.setattr(psutil, "process_iter", lambda attributes: iter(raylets))
    services = "ray._private.services"
    monkeypatch.setattr(f"{services}.get_ray_address_from_environment", lambda address, folder: private)
    with monkeypatch.context() as patch:
        patch.setattr(f"{services}.find_gcs_addresses", lambda: frozenset({private}))
        for address in ("auto", private):
            with pytest.raises(UserError, match="only another search's own Ray runs here"):
                cluster.join(address)
    monkeypatch.setattr(f"{services}.find_gcs_addresses", lambda: frozenset({private, nodes.address}))
    assert cluster._choose_head("auto") == nodes.address


def test_the_nodes_decide_how_many_workers_there_are(
    nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    monkeypatch.setattr(cluster, "_unsuited_here", lambda names: {("cpu", name): "slow" for name in names})
    all_nodes = cluster.read_nodes("auto", tmp_path / "runs", ("bf16",))
    assert not ray.is_initialized()
    assert list(tmp_path.iterdir()) == [], "nothing is written before a search starts"
    assert {node.name.split("(")[1]: node.cores for node in all_nodes} == {
        f"{HEAD})": 0,
        **{f"{host})": 2 for host in NODES},
    }
    assert [node.unsuited for node in all_nodes if node.cores] == 2 * [{("cpu", "bf16"): "slow"}]
    options = {"device": None, "count": None, "gpus": None, "share": 0.5, "nodes": all_nodes}
    workers = plan_workers(cpus=None, **options)
    assert (workers.count, workers.device, workers.cpus, workers.nodes) == (4, "cpu", 1, 2)
    assert plan_workers(cpus=2, **options).count == 2
    with pytest.raises(UserError, match="--workers 5: the cluster can run only 4 such trials concurrently"):
        plan_workers(cpus=None, **(options | {"count": 5}))
    with pytest.raises(UserError, match="--cpus-per-trial 3: the cluster has only 2 cores on one node"):
        plan_workers(cpus=3, **options)
    with pytest.raises(UserError, match="--device cuda: the cluster has no GPU"):
        plan_workers(cpus=None, **(options | {"device": "cuda"}))


def test_a_folder_that_a_node_does_not_see_is_refused(
    nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SYNC_TIMEOUT", 0.1)
    ray.cloudpickle.register_pickle_by_value(cluster)  # so that the nodes get this value, too
    runs = os.open(tmp_path, os.O_RDONLY)
    try:
        # A folder under a name that only this process can follow.
        with pytest.raises(UserError, match=r"node .* \(127.0.0.[34]\) does not see /proc/self/fd"):
            cluster.read_nodes(nodes.address, Path(f"/proc/self/fd/{runs}/runs"))
    finally:
        os.close(runs)
        ray.cloudpickle.unregister_pickle_by_value(cluster)
    with pytest.raises(UserError, match="--runs-dir /proc/runs: /proc cannot be written"):
        cluster.read_nodes(nodes.address, Path("/proc/runs"))
    assert not ray.is_initialized()
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_lacks_a_package_is_named(
    nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Ray lets workers import from the driver's folder
    monkeypatch.setattr(cluster, "_check_node", absent)  # this module is not among the shipped packages
    expected = r"node .* \(127.0.0.[34]\) cannot run a trial: ModuleNotFoundError: No module named 'tests'"
    with pytest.raises(UserError, match=expected):
        cluster.read_nodes(nodes.address, tmp_path)


def absent(probe: str, versions: dict) -> None:
    """A task that no node can import."""


def other_versions(**other: str) -> Callable[[], dict[str, str]]:
    """`worker_versions` of a machine on which these packages differ."""
    return lambda: worker_versions() | other


def test_a_node_with_other_versions_is_named_before_the_search(
    nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"torch": "1.2.3", PROJECT: "another commit"}
    monkeypatch.setattr(cluster, "worker_versions", other_versions(**here))
    torch = importlib.metadata.version("torch").split("+")[0]
    differs = rf"torch {torch} instead of 1\.2\.3, {PROJECT} [0-9a-f]+ instead of another commit"
    with pytest.raises(
        UserError, match=rf"node .* \(127.0.0.[34]\) has {differs}; install the same versions"
    ):
        cluster.read_nodes(nodes.address, tmp_path)


def test_a_node_that_is_lost_before_it_answers_is_left_out(
    nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_node, lost = cluster._on_node, NODES[0]

    def lose_first(entry: Mapping[str, Any], task: Callable[..., Any], *args: Any) -> Any:
        if entry["NodeManagerAddress"] == lost and entry["Alive"]:
            nodes.kill(lost)
            entry["Alive"] = False  # once
        return on_node(entry, task, *args)

    monkeypatch.setattr(cluster, "_on_node", lose_first)
    found = cluster.read_nodes(nodes.address, tmp_path)
    nodes.start(lost)  # for other tests
    assert sorted(node.cores for node in found) == [0, 2]


def test_a_node_that_has_just_joined_is_asked_again(nodes: RayNodes, tmp_path: Path) -> None:
    with cluster.joined(nodes.address):
        entry, *_ = [entry for entry in cluster._alive() if entry["Resources"].get("CPU")]
        unknown = cluster._on_node(entry | {"NodeID": "ab" * 28}, other_versions())
        known = functools.partial(cluster._on_node, entry, other_versions())
        assert cluster._wait_for(entry, unknown, known, time.monotonic() + 60)


def test_builds_for_cpus_and_for_gpus_are_the_same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = worker_versions()
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version(name).split("+")[0] + "+cu130")
    assert worker_versions() == before


def test_a_node_that_joins_during_the_search_is_checked(
    nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_watch, "CHECK_EVERY", 0.0)
    monkeypatch.setattr(cluster, "_CHECKED", set())  # all of them are new
    (tmp_path / STUDY).touch()
    with cluster.joined(nodes.address):
        watch = node_watch.NodeWatch(nodes.address, 1, 0.0, tmp_path)
        watch.on_step_begin(0, [])
        assert len(watch.checks.pending) == 2, "the head carries no trials"
        wait_until(watch, lambda: not watch.checks.pending)
        monkeypatch.setattr(cluster, "_CHECKED", set())
        monkeypatch.setattr(cluster, "worker_versions", other_versions(torch="1.2.3"))
        sentence = (
            r"has torch .* instead of 1\.2\.3; install the same versions on all nodes, and continue with"
        )
        with pytest.raises(UserError, match=sentence):
            wait_until(watch, lambda: False)
    assert [path.name for path in tmp_path.iterdir()] == [STUDY]


def wait_until(watch: node_watch.NodeWatch, condition: Callable[[], bool]) -> None:
    """Let Ray's loop go on until `condition` holds."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        watch.on_step_begin(0, [])
        time.sleep(0.05)


def test_messages_of_nodes_to_every_driver_are_not_printed() -> None:
    code = (
        "from search.execution import ray_session; "
        "from ray._private.ray_logging import stdout_deduplicator as out; "
        "print(out.deduplicate({'lines': ['The node has been marked dead'], 'pid': 'raylet', 'ip': '', "
        "'is_err': False, 'job': None})[0]['lines'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cluster.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_search_without_nodes_ends(
    nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_watch, "CHECK_EVERY", 0.0)
    monkeypatch.setattr(node_watch, "GIVE_UP_AFTER", 0.0)

    def search(cpus: int) -> None:
        callback = node_watch.NodeWatch(nodes.address, cpus, 0.0, tmp_path)
        for step in range(3):
            callback.on_step_begin(step, [])

    with cluster.joined(nodes.address):
        search(2)
        with pytest.raises(UserError, match="has no node left that can run a trial"):
            search(3)
