"""The only place that opens the test split, and the record that it was opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.device import threads
from rigsl.files import replacing
from rigsl.training.checkpoint import load_checkpoint
from rigsl.training.evaluation import Evaluation, evaluate
from rigsl.wording import counted
from search.confirm.final_record import read_final_record, write_final_record
from search.confirm.predictions import SeedRuns, seed_runs
from search.resources.workers import Workers
from search.run_folder import PREDICTIONS

SIDES = ("winner", "baseline")


@dataclass(frozen=True)
class Checkpoints:
    """The trainings of one configuration that are tested."""

    side: str  #: one of SIDES
    label: str  #: in words: "trial 7"
    folders: Mapping[int, Path]  #: seed -> checkpoint folder


def open_test(
    folder: Path, corpus: Corpus, checkpoints: Sequence[Checkpoints], workers: Workers
) -> dict[str, SeedRuns]:
    """Evaluate `checkpoints` on the test split, keep their predictions, and record that test was opened.

    If they were tested before, test is not opened again: their predictions are read from the run folder.

    Args:
        folder: of the study.
        corpus: with test labels.
        checkpoints: of the winner and, as a rule, of the baseline.
        workers: on whose device and with whose threads they run.

    Returns:
        Side -> predictions.
    """
    if was_tested(folder, checkpoints):
        return read_predictions(folder)
    parts = [f"{counted(len(tested.folders), 'training')} of {tested.label}" for tested in checkpoints]
    opened = read_final_record(folder).opened(" and ".join(parts), "validation")
    write_final_record(folder, dataclasses.replace(opened, tested=_names(folder, checkpoints)))
    predictions = {
        tested.side: seed_runs(corpus, "test", _evaluations(tested, corpus, workers))
        for tested in checkpoints
    }
    _write_predictions(folder, predictions)
    return predictions


def was_tested(folder: Path, checkpoints: Sequence[Checkpoints]) -> bool:
    """Whether the predictions in the run folder `folder` are those of `checkpoints`."""
    tested = read_final_record(folder).tested
    return tested == _names(folder, checkpoints) and (folder / PREDICTIONS).is_file()


def _names(folder: Path, checkpoints: Sequence[Checkpoints]) -> dict[str, tuple[str, ...]]:
    """Side -> paths of the checkpoint folders in the run folder, as ``final.json`` keeps them."""
    return {
        tested.side: tuple(sorted(str(path.relative_to(folder)) for path in tested.folders.values()))
        for tested in checkpoints
    }


def read_predictions(folder: Path) -> dict[str, SeedRuns]:
    """The test predictions in the run folder `folder`: side -> predictions; empty if there are none."""
    path = folder / PREDICTIONS
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        classes = tuple(map(str, arrays["classes"]))
        return {
            side: SeedRuns(
                arrays[side],
                arrays["labels"],
                arrays["offsets"],
                classes,
                tuple(map(int, arrays[f"{side}_seeds"])),
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
        arrays |= {side: runs.predicted, f"{side}_seeds": np.array(runs.seeds)}
    with replacing(folder / PREDICTIONS) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _evaluations(checkpoints: Checkpoints, corpus: Corpus, workers: Workers) -> dict[int, Evaluation]:
    with threads(workers.cpus):
        return {
            seed: evaluate(
                load_checkpoint(path, device=workers.device), corpus, "test", device=workers.device
            )
            for seed, path in checkpoints.folders.items()
        }
