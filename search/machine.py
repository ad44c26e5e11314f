"""What a study runs on: cores, GPUs, and how many trials at a time they carry."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rigsl.errors import UserError


@dataclass(frozen=True)
class Workers:
    """The workers of a study."""

    count: int  #: trials at a time
    device: str  #: "cpu" or "cuda"
    cpus: int = 1  #: cores and threads of a trial
    gpus: float = 0.0  #: share of a GPU that a trial gets
    gpu_total: int = 0  #: GPUs of the machine that take part

    def describe(self) -> str:
        """``2 on CPU, 1 thread each``."""
        threads = f"{self.cpus} thread{'s' if self.cpus > 1 else ''} each"
        if self.device == "cuda":
            return f"{self.count} on {self.gpu_total} GPU ({self.gpus:g} of one each), {threads}"
        return f"{self.count} on CPU, {threads}"


def cores() -> int:
    """Cores that this process may use: its affinity and its container's limit."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        count = min(count, max(1, int(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        pass
    return count


def gpu_count() -> int:
    """GPUs that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def plan_workers(
    *,
    device: str | None,
    count: int | None,
    cpus: int | None,
    gpus: float | None,
    cluster: bool,
    share: float,
) -> Workers:
    """Workers for the wishes of the user (None: no wish) on this machine.

    Args:
        device: "cpu", "cuda" or None for a GPU where there is one.
        count: trials at a time.
        cpus: cores of a trial.
        gpus: share of a GPU for a trial.
        cluster: the workers run on a Ray cluster, whose size is its own matter.
        share: the share of a GPU where `gpus` is not given.

    Raises:
        UserError: more is asked for than there is.
    """
    for name, value in (("--workers", count), ("--cpus-per-trial", cpus)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: is not a number from 1 up")
    if gpus is not None and not (0 < gpus < 1 or (gpus >= 1 and gpus == int(gpus))):
        raise UserError(f"--gpus-per-trial {gpus:g}: is not a share between 0 and 1 or a whole number")
    found = gpu_count()
    if gpus is not None and device == "cpu":
        raise UserError("--gpus-per-trial: cannot be combined with --device cpu")
    if (device == "cuda" or gpus is not None) and not found and not cluster:
        option = "--gpus-per-trial" if gpus is not None else "--device cuda"
        raise UserError(
            f"{option}: there is no GPU that torch can use; leave the option out to run on the CPU"
        )
    here, per_trial = cores(), cpus or 1
    if per_trial > here and not cluster:
        raise UserError(f"--cpus-per-trial {per_trial}: there are only {here} cores")
    if device == "cpu" or (device is None and not found and gpus is None):
        return Workers(_count(count, here // per_trial, cluster), "cpu", per_trial)
    part = gpus if gpus is not None else share
    fitting = min(int(found / part + 1e-9), max(1, here // per_trial))
    if fitting < 1 and not cluster:
        raise UserError(f"--gpus-per-trial {part:g}: there is only {found} GPU")
    return Workers(_count(count, fitting, cluster), "cuda", per_trial, part, found)


def _count(wish: int | None, fitting: int, cluster: bool) -> int:
    if wish is None:
        return max(1, fitting)
    if wish > fitting and not cluster:
        raise UserError(f"--workers {wish}: this machine carries {fitting} such trials at a time")
    return wish
