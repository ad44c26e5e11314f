"""A Ray cluster that somebody else runs: join it, read what it has, check that its nodes can run a trial.

Ray itself waits for minutes at an address where nothing answers, so every step is checked first. This
project's packages travel with the job: the nodes need the dependencies, not the checkout.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from rigsl.errors import UserError
from search.resources.workers import PACKED, Node, gpu_memory, packed_trials
from search.run_folder import ROOT

#: Beginning of the folders of Ray instances that a search starts for itself alone.
PRIVATE = "rigsl-"
#: Seconds for an address to answer, and for a node to look at a folder (it imports torch first).
ANSWER, LOOK = 5.0, 120.0
#: Seconds until a file that one machine wrote must be visible on the others.
VISIBLE = 10.0


def join(address: str) -> None:
    """Connect this process to the cluster at `address`: ``auto``, or HOST:PORT of its head.

    Raises:
        UserError: nothing answers there, it is no Ray cluster, this machine is not part of it, or it runs
            another version of Ray or Python.
    """
    import ray

    where = _find(address)
    if not any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"])):
        raise UserError(
            f"--ray-address {address}: this machine is no node of that cluster; start the search on one, or "
            f"let this machine join first: ray start --address={where}"
        )
    packages = {"py_modules": [str(ROOT / name) for name in ("rigsl", "search")], "excludes": ["__pycache__"]}
    try:
        ray.init(address=where, runtime_env=packages, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        ray.shutdown()
        raise UserError(f"--ray-address {address}: {_in_words(error)}") from None
    if any(f"/{PRIVATE}" in entry["ObjectStoreSocketName"] for entry in ray.nodes()):
        ray.shutdown()
        raise UserError(
            f"--ray-address {address}: only another search's own Ray runs here; start a cluster with: ray "
            "start --head"
        )


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """`join` for a block; an instance that the calling program uses already is taken and left as it is.

    Raises:
        UserError: as `join`.
    """
    import ray

    mine = not ray.is_initialized()
    if mine:
        join(address)
    try:
        yield
    finally:
        if mine:
            ray.shutdown()


def read_nodes(address: str, runs_dir: Path) -> tuple[Node, ...]:
    """What the machines of the cluster at `address` have; nothing stays connected.

    Every node that can carry a trial must see `runs_dir`, write there, and import what a trial imports.

    Raises:
        UserError: as `join`, or a node cannot run a trial; names the node.
    """
    with joined(address):
        entries = _alive()
        _check_folder(runs_dir, [entry for entry in entries if entry["Resources"].get("CPU")])
        with_gpu = [entry for entry in entries if entry["Resources"].get("GPU")]
        gpus = _ask(with_gpu, _gpus)
        return tuple(_node(entry, *gpus.get(entry["NodeID"], (0, PACKED))) for entry in entries)


def _check_folder(runs_dir: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    there = runs_dir.absolute()
    while not there.is_dir():  # made by the first study; what it will lie in must be shared, then
        there = there.parent
    probe = there / f".probe-{uuid.uuid4().hex}"
    try:
        probe.touch()
        answers = _ask(entries, _look, str(probe))
    except OSError as error:
        raise UserError(f"--runs-dir {runs_dir}: {there} cannot be written ({error.strerror})") from None
    finally:
        probe.unlink(missing_ok=True)
    for entry in entries:
        if trouble := answers[entry["NodeID"]]:
            raise UserError(
                f"--runs-dir {runs_dir}: node {_name(entry)} {trouble}; take a folder that all nodes share"
            )


def carries(cpus: int, gpus: float) -> bool:
    """Whether a node of the joined cluster carries a trial of this size."""
    return any(_node(entry, 0, PACKED).places(cpus, gpus) for entry in _alive())


def _find(address: str) -> str:
    """HOST:PORT of the head, where something that speaks Ray's protocol answers."""
    from ray._private.services import canonicalize_bootstrap_address

    if "://" in address:
        raise UserError(f"--ray-address {address}: is not auto or HOST:PORT")
    try:
        where = str(canonicalize_bootstrap_address(address))
        host, port = where.rsplit(":", 1)
        target = host.strip("[]"), int(port)
    except ConnectionError:
        raise UserError(
            f"--ray-address {address}: no Ray cluster runs here; start one with ray start --head, or give "
            "HOST:PORT of its head"
        ) from None
    except ValueError:
        raise UserError(f"--ray-address {address}: is not auto or HOST:PORT") from None
    try:
        with socket.create_connection(target, timeout=ANSWER) as connection:
            # A gRPC server answers HTTP/2's preface and empty settings with settings of its own (type 4).
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            speaks = connection.recv(4)[3:] == b"\x04"
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--ray-address {address}: no Ray cluster answers at {where} ({reason})") from None
    if not speaks:
        raise UserError(f"--ray-address {address}: what answers at {where} is no Ray cluster")
    return where


def _ask(entries: Sequence[Mapping[str, Any]], task: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """NodeID -> answer of `task`, run on each of these nodes at the same time.

    Raises:
        UserError: a node does not answer, or cannot import what the task needs.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0)(task)
    asked = {
        entry["NodeID"]: remote.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(entry["NodeID"], soft=False)
        ).remote(*arguments)
        for entry in entries
    }
    end, answers = time.monotonic() + LOOK, {}
    for entry in entries:
        try:
            answers[entry["NodeID"]] = ray.get(asked[entry["NodeID"]], timeout=max(0, end - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            raise UserError(f"--ray-address: node {_name(entry)} does not answer") from None
        except ray.exceptions.RayError as error:
            cause = _in_words(getattr(error, "cause", None) or error)
            raise UserError(f"--ray-address: node {_name(entry)} cannot run a trial: {cause}") from None
    return answers


def _look(probe: str) -> str:
    """On a node: what is wrong with the folder of the file `probe`; empty: nothing."""
    path, end = Path(probe), time.monotonic() + VISIBLE
    while not path.is_file():
        if time.monotonic() > end:
            return f"does not see {path.parent}"
        time.sleep(0.2)
    try:
        other = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
        other.touch()
        other.unlink()
    except OSError as error:
        return f"cannot write to {path.parent} ({error.strerror})"
    import search.execution.trainable  # noqa: F401  # a node that lacks a package says so before the search starts

    return ""


def _gpus() -> tuple[int, int]:
    """On a node: bytes of its smallest GPU, and the most trials on one of them."""
    return gpu_memory(), packed_trials()


def _alive() -> list[dict[str, Any]]:
    import ray

    return [entry for entry in ray.nodes() if entry["Alive"]]


def _node(entry: Mapping[str, Any], memory: int, packed: int) -> Node:
    there = entry["Resources"]
    return Node(
        name=_name(entry),
        cores=int(there.get("CPU", 0)),
        gpus=int(there.get("GPU", 0)),
        memory=int(there.get("memory", 0)),
        gpu_memory=memory,
        packed=packed,
    )


def _name(entry: Mapping[str, Any]) -> str:
    return f"{entry['NodeManagerHostname']} ({entry['NodeManagerAddress']})"


def _in_words(error: BaseException) -> str:
    """An error of Ray's as the end of a sentence: its last line with an error's name, or all its words."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if re.match(r"\w*Error: ", line)]
    words = named[-1] if named else " ".join(" ".join(lines).split()) or type(error).__name__
    return words[:300]
