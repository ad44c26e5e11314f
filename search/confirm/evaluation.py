"""The one place that opens the test split, and the record that it was opened."""

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
from search.confirm.final_record import read_final_record, write_final_record
from search.confirm.predictions import SeedRuns, recorded
from search.resources.workers import Workers
from search.run_folder import PREDICTIONS


@dataclass(frozen=True)
class Models:
    """Trained weights of one configuration: seed -> checkpoint folder."""

    who: str  #: "winner" or "baseline"
    label: str  #: in words: "trial 7"
    folders: Mapping[int, Path]


def open_test(
    folder: Path, corpus: Corpus, models: Sequence[Models], workers: Workers
) -> dict[str, SeedRuns]:
    """Test `models` on the test split, keep their predictions, and write down that test was opened.

    Models that were tested before are not tested again: their predictions are kept in the run folder.

    Args:
        folder: of the study.
        corpus: with test labels.

    Returns:
        Who -> predictions.
    """
    if was_tested(folder, models):
        return read_predictions(folder)
    parts = [
        f"{len(one.folders)} {'training' if len(one.folders) == 1 else 'trainings'} of {one.label}"
        for one in models
    ]
    opened = read_final_record(folder).opened(" and ".join(parts), "validation")
    write_final_record(folder, dataclasses.replace(opened, tested=_names(folder, models)))
    found = {one.who: recorded(corpus, "test", _evaluations(one, corpus, workers)) for one in models}
    _write_predictions(folder, found)
    return found


def was_tested(folder: Path, models: Sequence[Models]) -> bool:
    """Whether the predictions that the study keeps are those of `models`."""
    tested = read_final_record(folder).tested
    return tested == _names(folder, models) and (folder / PREDICTIONS).is_file()


def _names(folder: Path, models: Sequence[Models]) -> dict[str, tuple[str, ...]]:
    return {
        one.who: tuple(sorted(str(path.relative_to(folder)) for path in one.folders.values()))
        for one in models
    }


def read_predictions(folder: Path) -> dict[str, SeedRuns]:
    """The test predictions that a study keeps: who -> predictions; empty where there are none."""
    path = folder / PREDICTIONS
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as held:
        classes = tuple(map(str, held["classes"]))
        return {
            who: SeedRuns(
                held[who], held["labels"], held["offsets"], classes, tuple(map(int, held[f"{who}_seeds"]))
            )
            for who in ("winner", "baseline")
            if who in held
        }


def _write_predictions(folder: Path, found: Mapping[str, SeedRuns]) -> None:
    first = next(iter(found.values()))
    arrays: dict[str, Any] = {
        "labels": first.labels, "offsets": first.offsets, "classes": np.array(first.classes)
    }  # fmt: skip
    for who, runs in found.items():
        arrays |= {who: runs.predicted, f"{who}_seeds": np.array(runs.seeds)}
    with replacing(folder / PREDICTIONS) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _evaluations(models: Models, corpus: Corpus, workers: Workers) -> dict[int, Evaluation]:
    with threads(workers.cpus):
        return {
            seed: evaluate(
                load_checkpoint(path, device=workers.device), corpus, "test", device=workers.device
            )
            for seed, path in models.folders.items()
        }
