"""What the user asks for, and the checks that need nothing else: names, folders, free space."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from rigsl.errors import UserError

#: Free disk space (bytes) below which no study starts.
LEAST_FREE = 500_000_000


@dataclass(frozen=True)
class Wishes:
    """What the user asks for; None: the default."""

    dataset: str = "MELD"
    features: str = "auto"
    space: Path | None = None
    data_dir: Path | None = None
    trials: int | None = None
    minutes: float | None = None
    gpu_hours: float | None = None
    target: float | None = None
    patience: int | None = None
    finalists: int | None = None
    finalist_seeds: int | None = None
    test_seeds: int | None = None
    protocol: str | None = None
    workers: int | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | Literal["auto"] | None = None
    device: str | None = None
    sampler: str | None = None
    scheduler: str | None = None
    epochs: int | None = None
    seed: int | None = None
    study: str | None = None
    resume: str | None = None
    start_from: str | None = None
    runs_dir: Path = Path("runs")
    storage: str | None = None
    tracking_uri: str | None = None
    ray_address: str | None = None


def read_share(text: str) -> float | Literal["auto"]:
    """``0.25`` as a number, or ``auto``.

    Raises:
        UserError: it is neither.
    """
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"--gpus-per-trial {text}: is not auto, a share between 0 and 1 or a whole number"
        ) from None


def check_name(wishes: Wishes) -> str | None:
    name = wishes.study
    if name is None:
        return None
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UserError(f"--study {name}: is not a name of letters, digits, '.', '_' and '-'")
    if (wishes.runs_dir / name).exists():
        raise UserError(f"--study {name}: exists already; go on with --resume {name}, or take another name")
    return name


def free_folder(wishes: Wishes, features: str) -> Path:
    """A name that no study has: the second may be taken by a search that started together with this one."""
    stem = f"{wishes.dataset.lower()}-{features}-{datetime.now():%Y%m%d-%H%M%S}"
    for number in range(1, sys.maxsize):
        folder = wishes.runs_dir / (stem if number == 1 else f"{stem}-{number}")
        if not folder.exists():
            return folder.resolve()
    raise AssertionError


def check_free(runs_dir: Path) -> None:
    """There is room, and the folder can be written; nothing is created here."""
    there = runs_dir.resolve()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise UserError(f"--runs-dir {runs_dir}: {there} is not a folder")
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE:
        raise UserError(
            f"--runs-dir {runs_dir}: only {free / 1e6:.0f} MB are free; a study needs some 500 MB"
        )
