"""The only place that opens the test split, and the record that it was opened."""

from __future__ import annotations

import dataclasses
import hashlib
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.device import threads
from rigsl.errors import UserError, first_line
from rigsl.files import is_storage_error, read_json, replacing, sha256
from rigsl.inference.average import mean_log_prob
from rigsl.training.checkpoint import WEIGHTS, load_checkpoint
from rigsl.training.evaluation import Evaluation, evaluate
from rigsl.wording import counted, listed
from search.confirm.final_record import read_final_record, write_final_record
from search.confirm.predictions import SeedRuns, seed_runs, split_scores
from search.resources.workers import DRIVER_DEVICE, Workers
from search.run_folder import AVERAGE, BEST, METRICS, PREDICTIONS, TAUGHT, check_present, is_present

#: What can be tested: trainings of winner and baseline, the same taught, and averages of trainings.
WINNER, BASELINE = "winner", "baseline"
TAUGHT_BASELINE, AVERAGE_BASELINE = "taught baseline", "average of the baseline"
SIDES = (WINNER, BASELINE, TAUGHT, TAUGHT_BASELINE, AVERAGE, AVERAGE_BASELINE)

#: What numpy and zipfile raise for damaged bytes: the last for those that ask for a password or another way
#: of compression.
_DAMAGED = (
    OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoints:
    """The trainings of one configuration that are tested, or several trainings whose mean is tested."""

    side: str  #: one of SIDES
    label: str  #: in words: "trial 7"
    config_hash: str  #: of the configuration without its seed; of an average: of all its members
    folders: Mapping[int, Path]  #: seed (of an average: number of the member) -> checkpoint folder
    averaged: bool = False  #: whether the mean of their probabilities is tested, in place of each

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the predictions: an average has one, with the seed 0."""
        return (0,) if self.averaged else tuple(self.folders)

    @property
    def in_words(self) -> str:
        """What is tested."""
        trainings = f"{counted(len(self.folders), 'training')} of {self.label}"
        return f"the average of {trainings}" if self.averaged else trainings

    def digests(self) -> tuple[str, ...] | None:
        """SHA-256 of the weights of each of `seeds`; None: a checkpoint is gone."""
        paths = [path / WEIGHTS for path in self.folders.values()]
        if not all(path.is_file() for path in paths):
            return None
        digests = tuple(sha256(path) for path in paths)
        return (hashlib.sha256("".join(digests).encode()).hexdigest(),) if self.averaged else digests


def open_test(
    folder: Path, corpus: Corpus, checkpoints: Sequence[Checkpoints], workers: Workers
) -> dict[str, SeedRuns]:
    """Evaluate `checkpoints` on the test split, keep their predictions, and record that test was opened.

    If they were tested before, test is not opened again: their predictions are read from the run folder. The
    opening is recorded first, so that none can go unseen; the predictions say themselves what they are of,
    and are written as one file.

    Args:
        folder: of the study.
        corpus: with test labels.
        checkpoints: of the winner and, as a rule, of the baseline, and further answers.
        workers: on whose device and with whose threads they run.

    Returns:
        Side -> predictions.
    """
    if was_tested(folder, checkpoints):
        return read_predictions(folder)
    parts = [tested.in_words for tested in checkpoints]
    write_final_record(folder, read_final_record(folder).opened(listed(parts), "validation"))
    predictions = {tested.side: _predictions(tested, corpus, workers) for tested in checkpoints}
    _write_predictions(folder, predictions)
    return predictions


def was_tested(folder: Path, checkpoints: Sequence[Checkpoints]) -> bool:
    """Whether the predictions in the run folder `folder` are those of `checkpoints`.

    They are if configurations and seeds are the same and every checkpoint that is there has the weights that
    were tested. Damaged ones are of nothing. Predictions of version 0.1.0 do not say what they are of: see
    `_was_tested_before`.
    """
    try:
        predictions = read_predictions(folder)
    except UserError as error:
        if is_storage_error(error):  # they may be whole: a share that is away for a moment opens no test
            raise
        return False  # damaged: made again, and the record says so
    if set(predictions) != {tested.side for tested in checkpoints}:
        return False
    return all(
        _is_of(predictions[tested.side], tested) or _was_tested_before(folder, predictions, checkpoints)
        for tested in checkpoints
    )


def _is_of(runs: SeedRuns, tested: Checkpoints) -> bool:
    """Whether predictions name the trainings `tested` as their own."""
    if runs.config_hash != tested.config_hash or runs.seeds != tested.seeds:
        return False
    if tested.averaged:
        return tested.digests() in (None, runs.weights)
    paths = [path / WEIGHTS for path in tested.folders.values()]
    return all(
        not path.is_file() or sha256(path) == digest for path, digest in zip(paths, runs.weights, strict=True)
    )


def _was_tested_before(
    folder: Path, predictions: Mapping[str, SeedRuns], checkpoints: Sequence[Checkpoints]
) -> bool:
    """Whether version 0.1.0 has tested `checkpoints`.

    It named them in ``final.json`` before it evaluated them. So they are believed only if the export that
    followed has seen the last opening.
    """
    if any(runs.config_hash for runs in predictions.values()):
        return False
    final, metrics = read_final_record(folder), folder / BEST / METRICS
    names = {
        tested.side: tuple(sorted(str(path.relative_to(folder)) for path in tested.folders.values()))
        for tested in checkpoints
    }
    if final.tested != names or not metrics.is_file():
        return False
    exported = read_json(metrics, dict) or {}
    return len(exported.get("openings", ())) == len(final.openings)


def read_predictions(folder: Path) -> dict[str, SeedRuns]:
    """The test predictions in the run folder `folder`: side -> predictions; empty if there are none.

    Raises:
        UserError: the file is damaged, or cannot be read.
    """
    path = folder / PREDICTIONS
    if not is_present(path, run=folder):
        return {}
    try:
        return _load_predictions(path)
    except _DAMAGED as error:
        if isinstance(error, OSError) and is_storage_error(error):
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
        reason = f"{type(error).__name__}: {first_line(error, length=200)}"
        raise UserError(f"{path}: is damaged; restore it from a copy ({reason})") from None


def _load_predictions(path: Path) -> dict[str, SeedRuns]:
    with np.load(path, allow_pickle=False) as arrays:
        classes = tuple(map(str, arrays["classes"]))
        return {
            side: SeedRuns(
                arrays[side],
                arrays["labels"],
                arrays["offsets"],
                classes,
                tuple(map(int, arrays[f"{side}_seeds"])),
                str(arrays[f"{side}_config"]) if f"{side}_config" in arrays else "",
                tuple(map(str, arrays[f"{side}_weights"])) if f"{side}_weights" in arrays else (),
                tuple(map(float, arrays[f"{side}_validation"])) if f"{side}_validation" in arrays else (),
                int(arrays[f"{side}_parameters"]) if f"{side}_parameters" in arrays else 0,
                float(arrays[f"{side}_milliseconds"]) if f"{side}_milliseconds" in arrays else 0.0,
            )
            for side in SIDES
            if side in arrays
        }


def _write_predictions(folder: Path, predictions: Mapping[str, SeedRuns]) -> None:
    first = next(iter(predictions.values()))
    arrays: dict[str, Any] = {
        "labels": first.labels, "offsets": first.offsets, "classes": np.array(first.classes)
    }  # fmt: skip
    for side, runs in predictions.items():
        arrays |= {
            side: runs.predicted,
            f"{side}_seeds": np.array(runs.seeds),
            f"{side}_config": np.array(runs.config_hash),
            f"{side}_weights": np.array(runs.weights),
            f"{side}_validation": np.array(runs.validation),
            f"{side}_parameters": np.array(runs.parameters),
            f"{side}_milliseconds": np.array(runs.milliseconds),
        }
    check_present(folder)
    with replacing(folder / PREDICTIONS, parents=False) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _predictions(checkpoints: Checkpoints, corpus: Corpus, workers: Workers) -> SeedRuns:
    """The predictions of `checkpoints` on test, with what they are of."""
    evaluations: dict[str, list[Evaluation]] = {"test": [], "dev": []}
    validation: tuple[float, ...] = ()
    parameters, seconds, device = 0, 0.0, DRIVER_DEVICE
    with threads(workers.cpus):
        for path in checkpoints.folders.values():
            model = load_checkpoint(path, device=device)
            parameters += sum(weight.numel() for weight in model.parameters())
            start = time.perf_counter()
            evaluations["test"].append(evaluate(model, corpus, "test", device=device))
            seconds += time.perf_counter() - start
            if checkpoints.averaged:
                evaluations["dev"].append(evaluate(model, corpus, "dev", device=device))
    weights = checkpoints.digests()
    assert weights is not None
    if checkpoints.averaged:
        tested, validated = map(_mean, evaluations.values())
        runs = seed_runs(corpus, "test", {0: tested})
        validation = (float(split_scores(validated, corpus, "dev")["weighted_f1"]),)
    else:
        runs = seed_runs(corpus, "test", dict(zip(checkpoints.folders, evaluations["test"], strict=True)))
    models = 1 if checkpoints.averaged else len(checkpoints.folders)
    return dataclasses.replace(
        runs,
        config_hash=checkpoints.config_hash,
        weights=weights,
        validation=validation,
        parameters=parameters // models,
        milliseconds=1000 * seconds / models / len(runs.labels),
    )


def _mean(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The evaluation of the mean of the probabilities; its scores are those of the first."""
    return dataclasses.replace(
        evaluations[0], log_prob=mean_log_prob([evaluation.log_prob for evaluation in evaluations])
    )
