"""Whether a record is that of a run folder: both have the same trials with the same parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from rigsl.config import read_toml
from rigsl.errors import UserError
from rigsl.wording import counted
from search.run_folder import CONFIG, TRIALS, trial_folder


def mismatch(folder: Path, trials: Sequence[FrozenTrial]) -> str:
    """What a record with these `trials` lacks of the run folder `folder`, or has otherwise; empty: nothing.

    It can be an older copy, or the record of another study of the same name.
    """
    numbers = [int(path.name) for path in (folder / TRIALS).iterdir() if path.name.isdigit()]
    last = max(numbers, default=-1)
    if last >= len(trials):
        return f"it has {counted(len(trials), 'trial')}, but {folder / TRIALS} has trial {last}"
    path = trial_folder(folder, last) / CONFIG
    if last < 0 or not path.is_file():
        return ""
    try:
        config = read_toml(path)
    except UserError:  # cut off by a kill; the resumed trial writes it again
        return ""
    for name, value in trials[last].params.items():
        if name in config and not _equal(config[name], value):
            return f"its trial {last} has {name} = {value!r}, but {path} has {config[name]!r}"
    return ""


def _equal(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return math.isclose(one, other, rel_tol=1e-6) if numbers else bool(one == other)
