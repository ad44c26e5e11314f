"""An existing Ray cluster: join it, read its resources, check that its nodes can run a trial.

Ray waits for minutes at an address where nothing answers, so every step is checked first. The project's
packages are shipped with the job: the nodes need its dependencies, but no checkout.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from rigsl.errors import UserError
from rigsl.precisions import unsuited
from search.resources.authentication import users_token
from search.resources.versions import difference, worker_versions
from search.resources.workers import PACKED, Node, free_gpu_memory, gpu_count, packed_trials
from search.run_folder import ROOT

#: What a worker imports; by name, as the execution package comes after this one.
WORKER = "search.execution.trainable"
#: Name prefix of the folders of private Ray instances, which a search starts for itself.
PRIVATE = "rigsl-"
#: Timeouts in seconds: for an address to answer, and for a task on a node (which imports torch first).
CONNECT_TIMEOUT, TASK_TIMEOUT = 5.0, 120.0
#: How often a node is asked that has errors which pass, and seconds in between.
ATTEMPTS, RETRY_AFTER = 4, 1.0
#: Seconds after which a file written on one node must be visible on the others.
SYNC_TIMEOUT = 10.0
#: Ray does not say why a cluster does not let it in.
_TOKEN_HINT = "; if it demands a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
#: The ids of the nodes that were checked.
_CHECKED: set[str] = set()


def join(address: str) -> None:
    """Connect this process to the cluster at `address`: ``auto``, or HOST:PORT of its head.

    Raises:
        UserError: nothing answers there, it is not a Ray cluster, this machine is not one of its nodes, or it
            runs another version of Ray or Python.
    """
    import ray

    head = _find_head(address)
    if not _heads_here(private=False):
        raise UserError(
            f"--ray-address {address}: this machine is not a node of that cluster; start the search on a "
            f"node, or add this machine with: ray start --address={head}"
        )
    packages = {"py_modules": [str(ROOT / name) for name in ("rigsl", "search")], "excludes": ["__pycache__"]}
    try:
        ray.init(address=head, runtime_env=packages, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        ray.shutdown()
        hint = _TOKEN_HINT if isinstance(error, ConnectionError) else ""
        raise UserError(f"--ray-address {address}: {_summary(error)}{hint}") from None


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """`join` for a ``with`` block; where this process has joined Ray already, that connection is used.

    Raises:
        UserError: as `join`.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    with users_token(address):
        join(address)
        try:
            yield
        finally:
            ray.shutdown()


def read_nodes(address: str, runs_dir: Path, precisions: Sequence[str] = ()) -> tuple[Node, ...]:
    """The nodes of the cluster at `address`, without any lost meanwhile; the connection is closed again.

    Every node with cores must see `runs_dir`, write there, and import what a trial imports, in the same
    versions as this machine. Each is asked which of `precisions` its devices are made for.

    Raises:
        UserError: as `join`, or a node cannot run a trial; names the node.
    """
    with joined(address):
        entries = _alive()
        with_cores = [entry for entry in entries if entry["Resources"].get("CPU")]
        _check_folder(runs_dir, with_cores)
        with_gpu = [entry for entry in entries if entry["Resources"].get("GPU")]
        gpus = _run_on_nodes(with_gpu, _gpus_of_this_node)
        reasons = _run_on_nodes(with_cores, _unsuited_here, precisions) if precisions else {}
        still = _ids(_alive())
        entries = [entry for entry in entries if entry["NodeID"] in still]
        found = []
        for entry in entries:
            memory, packed = gpus.get(entry["NodeID"], (0, PACKED))
            found.append(_node(entry, memory, packed, reasons.get(entry["NodeID"])))
        return tuple(found)


def _check_folder(runs_dir: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    folder = runs_dir.absolute()
    while not folder.is_dir():  # the first study creates it, in a folder that must be shared
        folder = folder.parent
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        probe.touch()
        problems = _run_on_nodes(entries, _check_node, str(probe), worker_versions())
    except OSError as error:
        raise UserError(f"--runs-dir {runs_dir}: {folder} cannot be written ({error.strerror})") from None
    finally:
        probe.unlink(missing_ok=True)
    for entry in entries:
        if problem := problems.get(entry["NodeID"]):
            raise UserError(f"--ray-address: node {_name(entry)} {problem}")
    _CHECKED.update(problems)


def can_run_trial(cpus: int, gpus: float) -> bool:
    """Whether some node of the joined cluster can run a trial with `cpus` cores and `gpus` GPUs."""
    return any(_node(entry, 0, PACKED).trial_slots(cpus, gpus) for entry in _alive())


def _find_head(address: str) -> str:
    """HOST:PORT of the cluster's head, after a check that a gRPC server (Ray's protocol) answers there."""
    if "://" in address:
        raise UserError(f"--ray-address {address}: is not auto or HOST:PORT")
    try:
        head = _choose_head(address)
        host, _, port = head.rpartition(":")
        target = host.strip("[]"), int(port or 0)
    except ConnectionError:
        raise UserError(
            f"--ray-address {address}: no Ray cluster runs here; start one with ray start --head, or give "
            "HOST:PORT of its head"
        ) from None
    except ValueError:
        raise UserError(f"--ray-address {address}: is not auto or HOST:PORT") from None
    if not head:
        raise UserError(
            f"--ray-address {address}: only another search's own Ray runs here; start a cluster with: ray "
            "start --head"
        )
    try:
        with socket.create_connection(target, timeout=CONNECT_TIMEOUT) as connection:
            # A gRPC server answers the HTTP/2 preface and empty settings with its own settings (type 4).
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            speaks_grpc = connection.recv(4)[3:] == b"\x04"
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--ray-address {address}: no Ray cluster answers at {head} ({reason})") from None
    if not speaks_grpc:
        raise UserError(f"--ray-address {address}: the server at {head} is not a Ray cluster")
    return head


def _choose_head(address: str) -> str:
    """The head that Ray means by `address`; empty if that is another search's own Ray.

    `auto` passes over such a one where there is a cluster, too.

    Raises:
        ConnectionError: there is none.
        ValueError: it is no address.
    """
    from ray._private.services import canonicalize_bootstrap_address, find_gcs_addresses

    private = _heads_here(private=True)
    head = str(canonicalize_bootstrap_address(address))
    if head not in {str(canonicalize_bootstrap_address(other)) for other in private}:
        return head
    clusters = find_gcs_addresses() - private if address == "auto" else ()
    return str(canonicalize_bootstrap_address(min(clusters))) if clusters else ""


def _heads_here(*, private: bool) -> set[str]:
    """The heads of Ray instances of which this machine is a node: searches' private ones, or clusters."""
    lines = [
        " ".join(process.info["cmdline"] or [])
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "raylet"
    ]
    chosen = [line for line in lines if (f"/{PRIVATE}" in line) == private]
    return {head for line in chosen for head in re.findall(r"--gcs-address=(\S+)", line)}


def _on_node(entry: Mapping[str, Any], task: Callable[..., Any], *args: Any) -> Any:
    """Ray's reference to the result of `task`, run on one node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(entry["NodeID"], soft=False)
    return ray.remote(num_cpus=0)(task).options(scheduling_strategy=strategy).remote(*args)


def _run_on_nodes(
    entries: Sequence[Mapping[str, Any]], task: Callable[..., Any], *args: Any
) -> dict[str, Any]:
    """NodeID -> result of `task`, run on all of these nodes at the same time; without nodes lost meanwhile.

    Raises:
        UserError: a node does not answer, or cannot import what the task needs.
    """
    asked = {entry["NodeID"]: _on_node(entry, task, *args) for entry in entries}
    end, results = time.monotonic() + TASK_TIMEOUT, {}
    for entry in entries:
        result = _wait_for(entry, asked[entry["NodeID"]], partial(_on_node, entry, task, *args), end)
        if result is not None:
            results[entry["NodeID"]] = result
    return results


def _wait_for(
    entry: Mapping[str, Any],
    answer: Any,
    ask_again: Callable[[], Any],
    end: float,
    attempts: int = ATTEMPTS,
) -> Any:
    """A node's `answer`; None if the node is lost before it answers.

    A node that is being lost, or that just joined, has errors which pass: then it is asked again.

    Raises:
        UserError: the node does not answer by `end` (time.monotonic), or its task fails.
    """
    import ray

    passing = (
        ray.exceptions.TaskUnschedulableError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.WorkerCrashedError,
    )
    try:
        return ray.get(answer, timeout=max(0, end - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        raise UserError(f"--ray-address: node {_name(entry)} does not answer") from None
    except ray.exceptions.RayError as error:
        if entry["NodeID"] not in _ids(_alive()):
            return None
        if attempts == 1 or not isinstance(error, passing):
            cause = _summary(getattr(error, "cause", None) or error)
            raise UserError(f"--ray-address: node {_name(entry)} cannot run a trial: {cause}") from None
    time.sleep(RETRY_AFTER)
    return _wait_for(entry, ask_again(), ask_again, end, attempts - 1)


def _check_node(probe: str, versions: Mapping[str, str]) -> str:
    """Runs on a node: why it cannot run trials, as a predicate; empty if it can.

    It must see the file `probe`, write to its folder, and have these `versions` of what a worker imports.
    """
    path, end = Path(probe), time.monotonic() + SYNC_TIMEOUT
    remedy = "give a --runs-dir that all nodes share"
    while not path.is_file():
        if time.monotonic() > end:
            return f"does not see {path.parent}; {remedy}"
        time.sleep(0.2)
    try:
        other = path.with_name(f".probe-{uuid.uuid4().hex}")
        other.touch()
        other.unlink()
    except OSError as error:
        return f"cannot write to {path.parent} ({error.strerror}); {remedy}"
    importlib.import_module(WORKER)  # a node that lacks a package says so before the search starts
    differs = difference(versions, worker_versions())
    return f"has {differs}; install the same versions on all nodes" if differs else ""


class NodeChecks:
    """Checks the nodes that joined the cluster after the plan was made, without waiting for an answer.

    Args:
        probe: a file of the study, which every node must see.
    """

    def __init__(self, probe: Path) -> None:
        self.probe = probe
        self.pending: dict[Any, str] = {}  #: answer -> name of the node

    def look(self) -> None:
        """Begin to check nodes that are new, and look at the answers that have arrived.

        Raises:
            UserError: a node cannot run trials.
        """
        import ray

        for entry in _alive():
            if entry["Resources"].get("CPU") and entry["NodeID"] not in _CHECKED:
                _CHECKED.add(entry["NodeID"])
                self.pending[_on_node(entry, _check_node, str(self.probe), worker_versions())] = _name(entry)
        if not self.pending:
            return
        arrived, _ = ray.wait(list(self.pending), num_returns=len(self.pending), timeout=0)
        for answer in arrived:
            name = self.pending.pop(answer)
            try:
                problem = ray.get(answer)
            except ray.exceptions.RayTaskError as error:
                problem = f"cannot run a trial: {_summary(error.cause or error)}"
            except ray.exceptions.RayError:  # it is gone again
                continue
            if problem:
                raise UserError(f"--ray-address: node {name} {problem}, and continue with --resume")


def _gpus_of_this_node() -> tuple[int, int]:
    """Runs on a node: free bytes of its GPU with the least, and the maximum of concurrent trials on one."""
    return free_gpu_memory(), packed_trials()


def _unsuited_here(precisions: Sequence[str]) -> dict[tuple[str, str], str]:
    """Runs on a node: (device, precision) -> why that device is not made for it, of those that are not."""
    devices = ("cpu", "cuda") if gpu_count() else ("cpu",)
    found = {(device, name): unsuited(device, name) for device in devices for name in precisions}
    return {key: reason for key, reason in found.items() if reason}


def _alive() -> list[dict[str, Any]]:
    import ray

    return [entry for entry in ray.nodes() if entry["Alive"]]


def _ids(entries: Sequence[Mapping[str, Any]]) -> set[str]:
    return {entry["NodeID"] for entry in entries}


def _node(
    entry: Mapping[str, Any],
    memory: int,
    packed: int,
    unsuited: Mapping[tuple[str, str], str] | None = None,
) -> Node:
    resources = entry["Resources"]
    return Node(
        name=_name(entry),
        cores=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        memory=int(resources.get("memory", 0)),
        gpu_memory=memory,
        packed=packed,
        unsuited=unsuited or {},
    )


def _name(entry: Mapping[str, Any]) -> str:
    return f"{entry['NodeManagerHostname']} ({entry['NodeManagerAddress']})"


def _summary(error: BaseException) -> str:
    """An error of Ray in one line: the last line of a traceback, or the whole message without line breaks."""
    lines = [line.strip() for line in str(error).splitlines()]
    exceptions = [line for line in lines if re.match(r"\w*Error: ", line)]
    text = exceptions[-1] if exceptions else " ".join(" ".join(lines).split()) or type(error).__name__
    return text[:300]
