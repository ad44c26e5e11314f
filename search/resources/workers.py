"""The workers of a study: how many trials run concurrently on the nodes' cores, GPUs and memory."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from rigsl.device import cores
from rigsl.errors import UserError
from rigsl.wording import counted

#: Bytes of GPU memory that a process takes for CUDA itself, and of RAM for Python and its packages.
CONTEXT, PROCESS = 600_000_000, 400_000_000
#: GPU memory is planned for this multiple of a trial's estimate; estimates are accurate to a quarter.
MARGIN = 1.25
#: Maximum of concurrent trials on one GPU, unless ``python -m benchmarks.speed.packing --write`` measured
#: the number with the highest throughput on a GPU of this model: name -> {trials = N}.
PACKED = 8
MEASURED = Path(__file__).with_name("packing.toml")
#: Least bytes of GPU memory of a trial: below it, no configuration fits.
LEAST_GPU_MEMORY = 100_000_000
#: Where the process of a search itself computes, for the test and the export. A CUDA context of it would take
#: memory from the trials, and on a cluster it may have no GPU.
DRIVER_DEVICE = "cpu"
#: The nodes of a cluster, in messages.
CLUSTER = "the cluster"


@dataclass(frozen=True)
class Node:
    """A machine on which trials run; memory in bytes, 0 if unknown."""

    name: str
    cores: int
    gpus: int = 0
    memory: int = 0  #: RAM that is free for trials
    gpu_memory: int = 0  #: that is free on that of its GPUs with the least
    packed: int = PACKED  #: maximum of concurrent trials on one of its GPUs
    #: (device, precision) -> why that device of the node is not made for it; see `rigsl.precisions.unsuited`
    unsuited: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def trial_slots(self, cpus: int, gpus: float) -> int:
        """How many trials fit at the same time, each with `cpus` cores and `gpus` GPUs (0, a fraction, or
        a whole number)."""
        by_cores = self.cores // cpus
        if not gpus:
            return by_cores
        by_gpus = self.gpus // int(gpus) if gpus >= 1 else self.gpus * int(1 / gpus + 1e-9)
        return min(by_gpus, by_cores)


@dataclass(frozen=True)
class Workers:
    """The workers of a study."""

    count: int  #: number of concurrent trials
    device: str  #: "cpu" or "cuda"
    cpus: int = 1  #: cores and threads of a trial
    gpus: float = 0.0  #: GPUs of a trial: a fraction of one, or a whole number
    gpu_total: int = 0  #: GPUs of all nodes that run trials
    nodes: int = 1  #: nodes that run trials
    memory: int = 0  #: memory limit of a trial on its device, in bytes; 0: unknown

    def describe(self) -> str:
        """``2 on CPU, 1 thread each``."""
        threads = f"{counted(self.cpus, 'thread')} each"
        where = f" of {self.nodes} nodes" if self.nodes > 1 else ""
        if self.device == "cuda":
            gpus = counted(self.gpu_total, "GPU")
            return f"{self.count} on {gpus}{where} ({self.gpus:g} of one each), {threads}"
        return f"{self.count} on CPU{where}, {threads}"


def free_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of RAM left for this process and its children, by the machine and by its container's limit."""
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
    """Number of GPUs that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_memory() -> int:
    """Bytes of memory of the smallest GPU that torch can use; 0 without a GPU."""
    import torch

    sizes = [torch.cuda.get_device_properties(index).total_memory for index in range(gpu_count())]
    return min(sizes, default=0)


def free_gpu_memory() -> int:
    """Bytes of memory that are free on the GPU with the least, at least 1; 0 without a GPU.

    Other programs on a GPU leave that much of it to the trials.
    """
    import torch

    free = [
        torch.cuda.get_device_properties(index).total_memory - _used_gpu_memory(index)
        for index in range(gpu_count())
    ]
    return max(1, min(free)) if free else 0


def _used_gpu_memory(index: int) -> int:
    """Bytes of a GPU's memory that are in use, by NVIDIA's management library; 0 where it cannot tell.

    CUDA itself would tell too (`torch.cuda.mem_get_info`), but only a process with a context on that GPU.
    """
    import torch

    try:
        return int(torch.cuda.device_memory_used(index))
    except Exception:  # many kinds: no library, no right to ask, a part of a GPU (MIG), an older PyTorch
        return 0


def this_node() -> Node:
    """The machine on which this process runs."""
    return Node("this machine", cores(), gpu_count(), free_memory(), free_gpu_memory(), packed_trials())


def packed_trials(measured: Path = MEASURED) -> int:
    """Maximum of concurrent trials on one GPU of this machine: as measured, or PACKED."""
    import torch

    by_model = tomllib.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    names = [torch.cuda.get_device_name(index) for index in range(gpu_count())]
    return min((int(by_model.get(name, {}).get("trials", PACKED)) for name in names), default=PACKED)


def packed_share(trial_bytes: int, node: Node) -> float:
    """The smallest fraction of a GPU of `node` for trials of this size; 1 if not even two fit on it."""
    trials = min(node.packed, node.cores // node.gpus)
    if node.gpu_memory:
        trials = min(trials, int(node.gpu_memory / (MARGIN * trial_bytes + CONTEXT)))
    return _round_down(1 / max(1, trials))


def usable_share(share: float, gpu_memory: int) -> float:
    """The fraction of a GPU's memory that torch may allocate in a process with this `share` of the GPU."""
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
    """The workers that the user asks for (None: the default), as far as the nodes allow.

    A trial on a CPU computes with one thread by default: more threads change the last digits of a score, do
    not speed up models of this size, and are slow where cores are shared. The cores of a GPU node are divided
    among its trials.

    Args:
        device: "cpu", "cuda", or None for GPUs if there are any.
        count: number of concurrent trials.
        cpus: cores of a trial.
        gpus: GPUs of a trial, a fraction or a whole number; "auto": the smallest fraction for `trial_bytes`.
        share: fraction of a GPU for a trial if `gpus` is None.
        nodes: the nodes of a cluster; None: this machine.
        trial_bytes: device -> bytes that the largest configuration needs there; for "auto".

    Raises:
        UserError: an invalid number, or more than there is.
    """
    _check_numbers(device, count, cpus, gpus)
    where = "this machine" if nodes is None else CLUSTER
    nodes_or_this = (this_node(),) if nodes is None else nodes
    gpu_nodes = [node for node in nodes_or_this if node.gpus]
    if (device == "cuda" or gpus is not None) and not gpu_nodes:
        option = "--gpus-per-trial" if gpus is not None else "--device cuda"
        raise UserError(
            f"{option}: {where} has no GPU that can be used; leave the option out to run on the CPU"
        )
    max_cores = max((node.cores for node in nodes_or_this), default=0)
    if not max_cores:
        raise UserError(
            "--ray-address: no node of that cluster has a core for trials; start one with ray start"
        )
    if (cpus or 1) > max_cores:
        raise UserError(f"--cpus-per-trial {cpus}: {_has_only(where, max_cores, 'core')}")
    if device == "cpu" or not gpu_nodes:
        return _on_cpu(nodes_or_this, where, count, cpus or 1)
    if gpus == "auto":
        assert trial_bytes is not None
        fraction = max(packed_share(trial_bytes("cuda"), node) for node in gpu_nodes)
    else:
        fraction = share if gpus is None else gpus
    return _on_gpus(nodes_or_this, where, count, cpus, _round_down(fraction))


def _check_numbers(
    device: str | None, count: int | None, cpus: int | None, gpus: float | Literal["auto"] | None
) -> None:
    for name, value in (("--workers", count), ("--cpus-per-trial", cpus)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: is not a number from 1 up")
    if isinstance(gpus, float | int) and not (1e-4 <= gpus < 1 or (gpus >= 1 and gpus == int(gpus))):
        raise UserError(f"--gpus-per-trial {gpus:g}: is not auto, a share between 0 and 1 or a whole number")
    if gpus is not None and device == "cpu":
        raise UserError("--gpus-per-trial: cannot be combined with --device cpu")


def _on_cpu(nodes: Sequence[Node], where: str, count: int | None, cpus: int) -> Workers:
    slots = [node.trial_slots(cpus, 0) for node in nodes]
    number = _count(count, sum(slots), where)
    limits = [
        node.memory // min(trials, number) - PROCESS
        for node, trials in zip(nodes, slots, strict=True)
        if trials and node.memory
    ]
    return Workers(number, "cpu", cpus, nodes=_used(slots), memory=max(0, min(limits, default=0)))


def _on_gpus(
    nodes: Sequence[Node], where: str, count: int | None, cpus: int | None, fraction: float
) -> Workers:
    slots = [node.trial_slots(cpus or 1, fraction) for node in nodes]
    if not sum(slots):
        most = max(node.gpus for node in nodes)
        raise UserError(f"--gpus-per-trial {fraction:g}: {_has_only(where, most, 'GPU')}")
    number = _count(count, sum(slots), where)
    used = [(node, trials) for node, trials in zip(nodes, slots, strict=True) if trials]
    threads = cpus or min(node.cores // min(trials, number) for node, trials in used)
    sizes = [node.gpu_memory for node, _ in used if node.gpu_memory]
    memory = int(usable_share(fraction, min(sizes)) * min(sizes)) if sizes else 0
    if sizes and memory < LEAST_GPU_MEMORY:
        raise UserError(
            f"--gpus-per-trial {fraction:g}: {where} has a GPU with only {min(sizes) / 1e9:.1f} GB of free "
            "memory, too little for such a trial; end other programs on it, or give a larger share or "
            "--device cpu"
        )
    total = sum(node.gpus for node, _ in used)
    return Workers(number, "cuda", threads, fraction, total, _used(slots), memory)


def _has_only(where: str, number: int, noun: str) -> str:
    return f"{where} has only {counted(number, noun)}{' on one node' if where == CLUSTER else ''}"


def _round_down(share: float) -> float:
    """A share with the four digits that Ray counts in, so that n shares of 1/n do fit on a GPU."""
    return math.floor(share * 1e4 + 1e-6) / 1e4


def _used(slots: Sequence[int]) -> int:
    """How many nodes run trials."""
    return sum(trials > 0 for trials in slots)


def _count(asked: int | None, slots: int, where: str) -> int:
    if asked is None:
        return slots
    if asked > slots:
        fitting = counted(slots, "such trial")
        raise UserError(f"--workers {asked}: {where} can run only {fitting} concurrently")
    return asked
