"""What a study runs on: cores, GPUs and memory, and how many trials at a time they carry."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from rigsl.errors import UserError

#: Bytes of GPU memory that a process takes for CUDA itself, and of RAM for Python and its packages.
CONTEXT, PROCESS = 600_000_000, 400_000_000
#: Packed as if a trial took so much more than estimated: estimates are good to a quarter.
MARGIN = 1.25
#: Most trials that are packed on one GPU, unless ``python -m benchmarks.speed.packing --write`` measured how
#: many have the highest throughput on a GPU of its name: name -> {trials = N}.
PACKED = 8
MEASURED = Path(__file__).with_name("packing.toml")


@dataclass(frozen=True)
class Node:
    """A machine that carries trials; memory in bytes, 0 where it is not known."""

    name: str
    cores: int
    gpus: int = 0
    memory: int = 0  #: RAM that is free for trials
    gpu_memory: int = 0  #: of its smallest GPU
    packed: int = PACKED  #: most trials on one of its GPUs

    def places(self, cpus: int, gpus: float) -> int:
        """Trials at a time that each take `cpus` cores and `gpus` GPUs (0: none, a share, or whole ones)."""
        by_cores = self.cores // cpus
        if not gpus:
            return by_cores
        on_gpus = self.gpus // int(gpus) if gpus >= 1 else self.gpus * int(1 / gpus + 1e-9)
        return min(on_gpus, by_cores)


@dataclass(frozen=True)
class Workers:
    """The workers of a study."""

    count: int  #: trials at a time
    device: str  #: "cpu" or "cuda"
    cpus: int = 1  #: cores and threads of a trial
    gpus: float = 0.0  #: share of a GPU that a trial gets
    gpu_total: int = 0  #: GPUs that take part
    nodes: int = 1  #: machines that carry trials
    memory: int = 0  #: bytes that a trial may take on its device; 0: not known

    def describe(self) -> str:
        """``2 on CPU, 1 thread each``."""
        threads = f"{self.cpus} thread{'s' if self.cpus > 1 else ''} each"
        where = f" of {self.nodes} nodes" if self.nodes > 1 else ""
        if self.device == "cuda":
            return f"{self.count} on {self.gpu_total} GPU{where} ({self.gpus:g} of one each), {threads}"
        return f"{self.count} on CPU{where}, {threads}"


def cores() -> int:
    """Cores that this process may use: its affinity and its container's limit."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        count = min(count, max(1, int(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        pass
    return count


def free_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of RAM that this process and its children may still take: of the machine and of its container."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (
            int((cgroup / name).read_text(encoding="utf-8")) for name in ("memory.max", "memory.current")
        )
        lines = (cgroup / "memory.stat").read_text(encoding="utf-8").splitlines()
        cache = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, StopIteration):  # no such file, or "max": no limit
        return free
    return min(free, max(0, limit - used + cache))


def gpu_count() -> int:
    """GPUs that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_memory() -> int:
    """Bytes of the smallest GPU that torch can use; 0: there is none."""
    import torch

    sizes = [torch.cuda.get_device_properties(index).total_memory for index in range(gpu_count())]
    return min(sizes, default=0)


def here() -> Node:
    """This machine."""
    return Node("this machine", cores(), gpu_count(), free_memory(), gpu_memory(), packed_trials())


def packed_trials(measured: Path = MEASURED) -> int:
    """Most trials that are worth packing on one of this machine's GPUs: as measured, or PACKED."""
    import torch

    known = tomllib.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    names = [torch.cuda.get_device_name(index) for index in range(gpu_count())]
    return min((int(known.get(name, {}).get("trials", PACKED)) for name in names), default=PACKED)


def packed_share(trial_bytes: int, node: Node) -> float:
    """The share of a GPU of `node` with which most trials of so many bytes fit; 1 where not even two do."""
    most = min(node.packed, node.cores // node.gpus)
    if node.gpu_memory:
        most = min(most, int(node.gpu_memory / (MARGIN * trial_bytes + CONTEXT)))
    return _cut(1 / max(1, most))


def usable_share(share: float, gpu_memory: int) -> float:
    """The part of a GPU's memory that torch may allocate in a process with this `share` of the GPU."""
    return max(0.01, min(share, 1.0) - CONTEXT / gpu_memory)


def plan_workers(
    *,
    device: str | None,
    count: int | None,
    cpus: int | None,
    gpus: float | Literal["auto"] | None,
    share: float,
    nodes: Sequence[Node] | None = None,
    trial_bytes: Callable[[str], int] | None = None,
) -> Workers:
    """Workers for the wishes of the user (None: no wish) on these machines.

    A trial on a CPU computes with one thread unless the user wishes more: more threads change the last digits
    of a score and gain nothing (models of this size), and where cores are shared they cost much. The cores of
    a GPU's machine are divided among its trials.

    Args:
        device: "cpu", "cuda" or None for GPUs where there are some.
        count: trials at a time.
        cpus: cores of a trial.
        gpus: share of a GPU, or whole GPUs, for a trial; "auto": as small a share as `trial_bytes` allows.
        share: the share of a GPU where `gpus` is not given.
        nodes: the machines of a cluster; None: this machine.
        trial_bytes: device -> bytes that the largest configuration takes there; for "auto".

    Raises:
        UserError: more is asked for than there is.
    """
    for name, value in (("--workers", count), ("--cpus-per-trial", cpus)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: is not a number from 1 up")
    if isinstance(gpus, float | int) and not (1e-4 <= gpus < 1 or (gpus >= 1 and gpus == int(gpus))):
        raise UserError(f"--gpus-per-trial {gpus:g}: is not auto, a share between 0 and 1 or a whole number")
    if gpus is not None and device == "cpu":
        raise UserError("--gpus-per-trial: cannot be combined with --device cpu")
    machines = (here(),) if nodes is None else nodes
    where = "this machine" if nodes is None else "the cluster"
    found = sum(node.gpus for node in machines)
    if (device == "cuda" or gpus is not None) and not found:
        option = "--gpus-per-trial" if gpus is not None else "--device cuda"
        raise UserError(
            f"{option}: {where} has no GPU that can be used; leave the option out to run on the CPU"
        )
    most = max((node.cores for node in machines), default=0)
    if not most:
        raise UserError(
            "--ray-address: no node of that cluster has a core for trials; start one with ray start"
        )
    if (cpus or 1) > most:
        raise UserError(f"--cpus-per-trial {cpus}: {where} has only {most} cores{_together(nodes)}")
    if device == "cpu" or not found:
        return _on_cpu(machines, where, count, cpus or 1)
    if gpus == "auto":
        assert trial_bytes is not None
        with_gpu = [node for node in machines if node.gpus]
        part = max(packed_share(trial_bytes("cuda"), node) for node in with_gpu)
    else:
        part = share if gpus is None else gpus
    return _on_gpus(machines, where, count, cpus, _cut(part))


def _on_cpu(machines: Sequence[Node], where: str, count: int | None, cpus: int) -> Workers:
    places = [node.places(cpus, 0) for node in machines]
    number = _count(count, sum(places), where)
    free = [
        node.memory // min(fit, number) - PROCESS
        for node, fit in zip(machines, places, strict=True)
        if fit and node.memory
    ]
    return Workers(number, "cpu", cpus, nodes=_taking_part(places), memory=max(0, min(free, default=0)))


def _on_gpus(
    machines: Sequence[Node], where: str, count: int | None, cpus: int | None, part: float
) -> Workers:
    places = [node.places(cpus or 1, part) for node in machines]
    if not sum(places):
        raise UserError(f"--gpus-per-trial {part:g}: {where} has no machine with so many GPUs")
    number = _count(count, sum(places), where)
    carriers = [(node, fit) for node, fit in zip(machines, places, strict=True) if fit]
    threads = cpus or min(node.cores // min(fit, number) for node, fit in carriers)
    sizes = [node.gpu_memory for node, _ in carriers if node.gpu_memory]
    memory = int(usable_share(part, min(sizes)) * min(sizes)) if sizes else 0
    total = sum(node.gpus for node, _ in carriers)
    return Workers(number, "cuda", threads, part, total, _taking_part(places), memory)


def _cut(share: float) -> float:
    """A share with the four digits that Ray counts in, so that n shares of 1/n do fit on a GPU."""
    return math.floor(share * 1e4 + 1e-6) / 1e4


def _taking_part(places: Sequence[int]) -> int:
    return sum(fit > 0 for fit in places)


def _together(nodes: Sequence[Node] | None) -> str:
    return " on one machine" if nodes is not None else ""


def _count(wish: int | None, fitting: int, where: str) -> int:
    if wish is None:
        return fitting
    if wish > fitting:
        raise UserError(f"--workers {wish}: {where} carries {fitting} such trials at a time")
    return wish
