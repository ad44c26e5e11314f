"""Rerun an exported answer and compare the scores: is the result reproducible?

A configuration is trained again, a taught model by the same teacher, an average member by member.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rigsl.config import RIGSLConfig, from_mapping, from_toml
from rigsl.data.corpus import Corpus
from rigsl.data.source import find_corpus
from rigsl.device import threads
from rigsl.errors import UserError
from rigsl.files import sha256
from rigsl.inference.average import Average, evaluate_model, is_average, model_digest
from rigsl.model.rigsl import RIGSL
from rigsl.precisions import unsuited
from rigsl.training.checkpoint import CONFIG, WEIGHTS
from search.confirm.predictions import split_scores
from search.export import environment
from search.export.best import read_metrics
from search.export.others import OVERALL
from search.resources.workers import DRIVER_DEVICE, gpu_count
from search.run_folder import METRICS, TEACHER_FILE

#: The scores that are compared: (split, name).
SCORES = [(split, name) for split in ("validation", "test") for name in OVERALL]
_MAX_THREADS = 100_000  #: more is a damaged file


@dataclass(frozen=True)
class RerunResult:
    """Recorded and new scores of one configuration."""

    folder: Path
    rows: list[tuple[str, str, float, float]]  #: split, score, recorded, new
    differences: dict[str, tuple[Any, Any]]  #: of machine and commit: name -> (recorded, here)
    device: str
    deterministic: bool  #: whether the configuration asks for it

    @property
    def equal(self) -> bool:
        """Whether every score is the same, bit for bit."""
        return all(recorded == new for _, _, recorded, new in self.rows)

    @property
    def reproducible(self) -> bool:
        """Whether they must be equal: the same machine, and either the CPU or a deterministic
        configuration (the sums of a GPU have no fixed order otherwise)."""
        fixed_order = self.device == "cpu" or self.deterministic
        return fixed_order and not set(self.differences) - {"commit"}


def rerun(
    folder: Path, *, data_dir: Path | None = None, on_epoch: Any = None, force: bool = False
) -> RerunResult:
    """Train the configuration in `folder` again with its seed, threads and device type, and score it.

    Args:
        folder: ``best/``, ``best/taught`` or ``best/average`` of a study, or a copy.
        data_dir: where the corpora are; None: ``data/`` of the project.
        on_epoch: called with the report of every epoch.
        force: train also in a precision that the device is not made for.

    Raises:
        UserError: the folder is not an exported result, the corpus differs, or the device is missing or is
            not made for the precision.
    """
    recorded = read_metrics(folder)
    average = is_average(folder)
    if not recorded or not (average or (folder / CONFIG).is_file()):
        raise UserError(
            f"--rerun {folder}: is not an exported result ({METRICS} or {CONFIG} is missing); "
            "name the best/ folder of a study, or best/taught or best/average"
        )
    _check_metrics(recorded, folder)
    digest = recorded.get("weights_sha256")
    if digest and (average or (folder / WEIGHTS).is_file()) and model_digest(folder) != digest:
        raise UserError(
            f"--rerun {folder}: {METRICS} is of other weights, because its study was stopped while it wrote "
            f"them; --resume {recorded['study']} writes both again"
        )
    configs = _configs(folder, recorded)
    content = recorded["corpus_hash"]
    corpus, _ = find_corpus(recorded["dataset"], recorded["features"], data_dir, content=content)
    if corpus.content_hash() != content:
        raise UserError(
            f"--rerun {folder}: the recorded scores were measured on another corpus than {corpus.name}; "
            "name the folder of the recorded one with --data-dir"
        )
    device, thread_count = recorded["machine"]["device"], recorded["machine"]["threads"]
    if device == "cuda" and not gpu_count():
        raise UserError(
            f"--rerun {folder}: was trained on CUDA, and torch finds no GPU here; rerun it on a GPU machine"
        )
    for precision in {config.precision for config, _ in configs}:
        if not force and (reason := unsuited(device, precision)):
            raise UserError(
                f"--rerun {folder}: was trained with precision = '{precision}': {reason}; rerun it on "
                "another machine, or give --force"
            )
    # Earlier versions evaluated where they trained.
    evaluated_on = DRIVER_DEVICE if recorded.get("evaluated_on") == DRIVER_DEVICE else device
    with threads(thread_count):
        models = [
            _train_again(folder, recorded, config, fold, corpus.without_test_labels(), device, on_epoch)
            for config, fold in configs
        ]
        model = Average(tuple(models)) if average else models[0]
        new = {
            name: split_scores(evaluate_model(model, corpus, split, device=evaluated_on), corpus, split)
            for name, split in (("validation", "dev"), ("test", "test"))
        }
    rows = [(split, name, recorded[split][name], new[split][name]) for split, name in SCORES]
    differences = _differences(recorded, device, thread_count)
    deterministic = all(config.deterministic for config, _ in configs)
    return RerunResult(folder, rows, differences, device, deterministic)


def _configs(folder: Path, recorded: dict[str, Any]) -> list[tuple[RIGSLConfig, int | None]]:
    """What is trained: configurations, each with the fold that it leaves out.

    Raises:
        UserError: the members of an average are missing or damaged.
    """
    if not is_average(folder):
        return [(from_toml(folder / CONFIG), recorded.get("validated_fold"))]
    source, members = str(folder / METRICS), recorded.get("members")
    if not isinstance(members, list) or not members or not all(map(_has_config, members)):
        raise UserError(f"{source}: members is missing or damaged; restore the file from a copy")
    return [(from_mapping(one["config"], source), one.get("fold")) for one in members]


def _has_config(value: Any) -> bool:
    """Whether a value of ``metrics.json`` is a table with a configuration."""
    return isinstance(value, dict) and isinstance(value.get("config"), dict)


def _train_again(
    folder: Path,
    recorded: dict[str, Any],
    config: RIGSLConfig,
    fold: int | None,
    corpus: Corpus,
    device: str,
    on_epoch: Any,
) -> RIGSL:
    """The model of a training like that of the study."""
    from rigsl.training.fit import fit
    from rigsl.training.teacher import Teacher

    path = folder / TEACHER_FILE
    if recorded.get("teacher_sha256") not in (None, sha256(path) if path.is_file() else ""):
        raise UserError(f"{path}: is missing or is not the recorded teacher; restore it from a copy")
    return fit(
        config,
        corpus,
        device=device,
        on_epoch=on_epoch,
        lineage=_lineage(recorded, folder),
        held_out=None if fold is None else _held_out(folder, recorded, fold, corpus),
        validate_held_out="validated_fold" in recorded,
        teacher=Teacher.load(path) if "teacher_sha256" in recorded else None,
    ).model


def _held_out(folder: Path, recorded: dict[str, Any], fold: int, corpus: Corpus) -> NDArray[np.int64]:
    """The dialogues of a recorded fold.

    Raises:
        UserError: the folds are missing or damaged.
    """
    folds = recorded.get("folds")
    whole = isinstance(folds, list) and all(type(one) is int for one in folds)
    if not (whole and folds and len(folds) == len(corpus.splits) and fold in folds):
        raise UserError(f"{folder / METRICS}: folds is missing or damaged; restore the file from a copy")
    return np.flatnonzero(np.array(folds) == fold)


def _check_metrics(recorded: dict[str, Any], folder: Path) -> None:
    """Check what a rerun reads of ``metrics.json``.

    Raises:
        UserError: a value is missing or of another type.
    """
    kinds: dict[str, type | tuple[type, ...]] = {
        "dataset": str, "features": str, "corpus_hash": str, "commit": str, "machine.device": str,
        "machine.threads": int, **{f"{split}.{name}": (int, float) for split, name in SCORES},
    }  # fmt: skip
    for name, kind in kinds.items():
        value: Any = recorded
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        threads_fit = name != "machine.threads" or (type(value) is int and 1 <= value <= _MAX_THREADS)
        if not isinstance(value, kind) or not threads_fit:
            raise UserError(f"{folder / METRICS}: {name} is missing or damaged; restore the file from a copy")


def _lineage(recorded: dict[str, Any], folder: Path) -> list[tuple[RIGSLConfig, int]]:
    """The earlier configurations of the training, each with its last epoch (see `search.record.lineage`).

    Raises:
        UserError: they are damaged.
    """
    source, stages = str(folder / METRICS), recorded.get("lineage", [])
    whole = isinstance(stages, list) and all(map(_has_config, stages))
    if not whole or not all(type(stage.get("until_epoch")) is int for stage in stages):
        raise UserError(f"{source}: lineage is damaged; restore the file from a copy")
    return [(from_mapping(stage["config"], source), stage["until_epoch"]) for stage in stages]


def _differences(recorded: dict[str, Any], device: str, thread_count: int) -> dict[str, tuple[Any, Any]]:
    """What differs between the recorded environment and this one: name -> (recorded, here)."""
    then = dict(recorded["machine"]) | {"commit": recorded["commit"]}
    now = environment.machine(device, thread_count) | {"commit": environment.commit()}
    return {name: (then.get(name), now.get(name)) for name in then | now if then.get(name) != now.get(name)}
