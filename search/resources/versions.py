"""The versions of what a training consists of: Python, the packages that a worker imports, this project."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

import rigsl

#: Packages whose version can change what a worker computes.
WORKER_PACKAGES = (
    "numpy", "optuna", "ray", "safetensors", "scikit-learn", "torch", "torch_geometric"
)  # fmt: skip
PROJECT = "this project"


def installed(names: Iterable[str]) -> dict[str, str]:
    """Package -> installed version; "not installed" for a package that is not, or runs from a checkout."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def worker_versions() -> dict[str, str]:
    """What a worker on this machine would run: versions of packages, and a digest of the project's source.

    A build for CPUs and one for CUDA are the same version: a driver need not have a GPU.
    """
    versions = {name: version.split("+")[0] for name, version in installed(WORKER_PACKAGES).items()}
    versions["python"] = ".".join(versions["python"].split(".")[:2])
    digest = hashlib.sha256()
    for folder in (Path(rigsl.__file__).parent, Path(__file__).parents[1]):
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{folder.name}/{path.relative_to(folder)}".encode())
            digest.update(path.read_bytes())
    return versions | {PROJECT: digest.hexdigest()[:12]}


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """How `found`, of another machine, differs from what is `expected`; empty: it does not."""
    different = [name for name in expected if found.get(name) != expected[name]]
    return ", ".join(f"{name} {found.get(name)} instead of {expected[name]}" for name in different)
