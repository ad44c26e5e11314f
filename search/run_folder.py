"""The names of all files that a study leaves: ``runs/STUDY`` and ``runs/STUDY/trials/NNNN``.

README, "What a run leaves behind", lists them for users. No other module spells one of these names.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, TypeVar

from rigsl.files import read_json, write_text

_Json = TypeVar("_Json", dict[str, Any], list[Any])

#: The repository's root, which holds `search`, `rigsl` and `spaces`.
ROOT = Path(__file__).resolve().parents[1]
DEFAULT_SPACE = "default.toml"  #: in `spaces`: where the space of a corpus comes from that has none there

# runs/STUDY
SPACE = "space.toml"  #: what was searched
STUDY = "study.toml"  #: the study's options; see `Plan.options`
JOURNAL = "study.journal"  #: the record, unless a database holds it
LOCK = "study.lock"  #: held locked by the process that runs the study
ENVIRONMENT = "environment.json"  #: on which machine and versions, one entry for every start
SYSTEM = "system.jsonl"  #: what the machine did meanwhile
TERMINAL_LOG = "terminal.log"  #: what a search printed after its terminal was gone
FINAL = "final.json"  #: finalists, test scores, when test was opened
PREDICTIONS = "predictions.npz"  #: what winner and baseline predicted on test
FACTS = "facts.json"  #: what the report needs of the corpus and the winner's graph
REPORT = "report.html"
TRIALS = "trials"  #: folder of the trials' folders
TRAININGS = "final"  #: folder of the trainings of finalists, winner and baseline
RESULTS = "results.json"  #: in TRAININGS: how they ended
TEACHER = "teacher"  #: in TRAININGS: beginning of the names of the teachers' files
SCRATCH = ".ray"  #: Ray Tune's own files, while a search runs

# runs/STUDY/best
BEST = "best"
TAUGHT, AVERAGE = "taught", "average"  #: folders of the other answers: a taught model, several as one
TEACHER_FILE = "teacher.safetensors"  #: in the folder of a taught model
METRICS = "metrics.json"
RERUN = "rerun.sh"
OFFICIAL = "official_command.txt"
CARD = "README.md"
NEXT_SPACE = "space_next.toml"

# runs/STUDY/trials/NNNN, and likewise a training's folder in TRAININGS
CONFIG = "config.toml"
CURVE = "epochs.jsonl"  #: one line an epoch
MODEL = "model"  #: checkpoint folder of the best epoch
HELD_OUT = "held_out.safetensors"  #: what a finalist's training predicts for the fold that it left out
STATE = "state.pt"  #: from which an interrupted training goes on
SNAPSHOTS = "state-*.pt"  #: from which children of population based training begin
ERROR = "error.txt"  #: traceback of a failure


def snapshot_name(epoch: int) -> str:
    """The file, in a trial's folder, with its state after `epoch`."""
    return f"state-{epoch:04d}.pt"


def trial_folder(run: Path, number: int) -> Path:
    """Where trial `number` of the run folder `run` keeps its state, its curve and its best model."""
    return run / TRIALS / f"{number:04d}"


def check_present(path: Path) -> None:
    """Check that a run folder is there, or a file that it has from its first moment on.

    While it is away, as with a network share for a moment, its files must not be taken for some that it never
    had, and a new file would be hidden by the folder when that is back.

    Raises:
        FileNotFoundError: it is away.
    """
    if not path.exists() or _is_made_by_ray(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _is_made_by_ray(path: Path) -> bool:
    """Whether a folder is no study's, but holds Ray Tune's files, whose folder it makes with all parents."""
    return (path / SCRATCH).is_dir() and not (path / STUDY).exists()


def is_present(path: Path, *, run: Path) -> bool:
    """Whether the run folder `run` has the file `path`.

    Raises:
        FileNotFoundError: the folder is away.
    """
    if path.exists():
        return True
    check_present(run)
    return path.exists()  # the folder may have been away at the first look only


def write_file(path: Path, text: str) -> None:
    """Write a text file of a run folder in UTF-8, atomically.

    Raises:
        FileNotFoundError: the folder that it is in is away; nothing is written in its place.
    """
    check_present(path.parent)
    write_text(path, text, parents=False)


def read_file(path: Path, kind: type[_Json], *, run: Path) -> _Json | None:
    """The content of one of the JSON files of the run folder `run`; None: it has no such file.

    Raises:
        FileNotFoundError: the folder is away.
        UserError: the file cannot be read, or is damaged.
    """
    content = None
    while content is None and is_present(path, run=run):
        content = read_json(path, kind)
    return content
