"""What the user asks for, and the checks that need nothing else: names, folders, free disk space."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from rigsl.errors import UserError
from search.run_folder import SPACE, STUDY

#: Free disk space (bytes) without which no study starts.
MIN_FREE_BYTES = 500_000_000


@dataclass(frozen=True)
class SearchOptions:
    """What the user asks for; None: the default.

    The command-line option of each field has the same name with dashes (`minutes`: ``--time-budget``).
    """

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
    folds: int | None = None
    teacher_weight: float | None = None
    teacher_temperature: float | None = None
    test_seeds: int | None = None
    protocol: str | None = None
    explain: bool | None = None
    workers: int | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | Literal["auto"] | None = None
    device: str | None = None
    validation: str | None = None
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
    force: bool | None = None


def read_share(text: str) -> float | Literal["auto"]:
    """``0.25`` as a number, or ``auto``.

    Raises:
        UserError: `text` is neither.
    """
    if text == "auto":
        return "auto"
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not math.isfinite(share):
        raise UserError(f"--gpus-per-trial {text}: is not auto, a share between 0 and 1 or a whole number")
    return share


def check_name(name: str, runs_dir: Path) -> None:
    """Check that a new study in the folder `runs_dir` can have this name.

    Raises:
        UserError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UserError(f"--study {name}: is not a name of letters, digits, '.', '_' and '-'")
    if (runs_dir / name).exists():
        raise UserError(
            f"--study {name}: exists already; continue it with --resume {name}, or choose another name"
        )


def study_folder(runs_dir: Path, study: str, option: str) -> Path:
    """The run folder of the `study` given with ``--option``: its name in the folder `runs_dir`, or a path.

    Raises:
        UserError: there is no such study.
    """
    for folder in (runs_dir / study, Path(study)):
        if (folder / STUDY).is_file() and (folder / SPACE).is_file():
            return folder.resolve()
    names = sorted(path.parent.name for path in runs_dir.glob(f"*/{STUDY}"))
    existing = f"there are {', '.join(names)}" if names else "there is none"
    raise UserError(f"--{option} {study}: is not a study in {runs_dir}; {existing}")


def free_folder(runs_dir: Path, dataset: str, features: str) -> Path:
    """A folder that no study has yet, named after the time; searches can start within the same second."""
    stem = f"{dataset.lower()}-{features}-{datetime.now():%Y%m%d-%H%M%S}"
    for number in range(1, sys.maxsize):
        folder = runs_dir / (stem if number == 1 else f"{stem}-{number}")
        if not folder.exists():
            return folder.resolve()
    raise AssertionError


def check_disk_space(runs_dir: Path) -> None:
    """Check that `runs_dir` is or can become a folder with enough free space; nothing is created.

    Raises:
        UserError: it cannot, as in a read-only folder, or the disk is full.
    """
    folder = runs_dir.resolve()
    try:
        while not folder.exists():
            folder = folder.parent
    except OSError as error:  # a folder that may not be entered, or a name that is too long
        raise UserError(f"--runs-dir {runs_dir}: cannot be used ({error.strerror}); choose another") from None
    if not folder.is_dir():
        raise UserError(f"--runs-dir {runs_dir}: {folder} is not a folder")
    check_writable(folder, f"--runs-dir {runs_dir}")
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise UserError(
            f"--runs-dir {runs_dir}: only {free / 1e6:.0f} MB are free; a study needs about "
            f"{MIN_FREE_BYTES / 1e6:.0f} MB"
        )


def check_writable(folder: Path, where: str) -> None:
    """Check that files can be created in `folder`, which exists; the sentence begins with `where`.

    Raises:
        UserError: they cannot.
    """
    effective = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        raise UserError(
            f"{where}: {folder} is read-only for this user; make it writable or choose another folder with "
            "--runs-dir"
        )
