"""The environment of a study, on which its numbers depend too: package versions, git commit, machine."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

from rigsl.device import cores
from search.resources.versions import installed
from search.resources.workers import Workers
from search.run_folder import ROOT

PACKAGES = ("mlflow", "numpy", "optuna", "ray", "rigsl-search", "scikit-learn", "torch", "torch_geometric")


def versions() -> dict[str, str]:
    """Package -> installed version; "not installed" for a package that runs from a checkout."""
    return installed(PACKAGES)


def commit() -> str:
    """The git commit of this code, with ``+changes`` if files differ from it; "unknown" outside git."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return head + ("+changes" if changed else "")


def machine(device: str, threads: int) -> dict[str, Any]:
    """Device, threads, processor, torch and GPU: a training is bit-identical only where these agree."""
    import torch

    content: dict[str, Any] = {
        "device": device,
        "threads": threads,
        "processor": _processor(),
        "torch": torch.__version__,
    }
    if device == "cuda" and torch.cuda.is_available():
        content["gpu"] = torch.cuda.get_device_name(0)
    return content


def describe(workers: Workers, seed: int) -> dict[str, Any]:
    """The entry of ``environment.json`` for one start of a study."""
    return {
        "seed": seed,
        "commit": commit(),
        "versions": versions(),
        "machine": machine(workers.device, workers.cpus),
        "cores": cores(),
        "workers": workers.count,
        "gpus_per_trial": workers.gpus,
        "platform": platform.platform(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
