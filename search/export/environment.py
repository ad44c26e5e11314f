"""What a study's numbers depend on beside its configuration: versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from search.resources.workers import Workers, cores
from search.run_folder import ROOT

PACKAGES = ("mlflow", "numpy", "optuna", "ray", "rigsl-search", "scikit-learn", "torch", "torch_geometric")


def versions() -> dict[str, str]:
    """Package -> installed version; "not installed" for what runs from a checkout."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def program(name: str) -> str:
    """How to call a program of this environment: by its name where the shell finds that one, else by path."""
    here = Path(sys.executable).with_name(name)  # not resolved: an environment's python is a link
    found = shutil.which(name)
    if found is not None and Path(found).absolute() == here.absolute():
        return name
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def commit() -> str:
    """The git commit of this code, ``+changes`` where files differ from it; "unknown" outside git."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return head + ("+changes" if changed else "")


def machine(device: str, threads: int) -> dict[str, Any]:
    """What decides whether the same training gives the same numbers bit for bit."""
    import torch

    found: dict[str, Any] = {
        "device": device,
        "threads": threads,
        "processor": _processor(),
        "torch": torch.__version__,
    }
    if device == "cuda" and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name(0)
    return found


def describe(workers: Workers, seed: int) -> dict[str, Any]:
    """The content of ``environment.json``."""
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
