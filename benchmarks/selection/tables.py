"""The committed tables: scores of every training after every epoch, and held-out predictions.

``curves.parquet`` has a row for every epoch of every training, ``test.parquet`` its score on test (sealed:
only the final comparison reads it), ``predictions.safetensors`` what the trainings on parts of train predict
for the quarters that they left out, at their best epoch on dev.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.selection import trainings
from benchmarks.selection.quarters import QUARTERS, WHOLE, Part, corpus, quarter_of_dialogue
from benchmarks.selection.trainings import Predictions, read
from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.files import replacing
from rigsl.training.scores import confusion_matrix, weighted_f1
from search.run_folder import ROOT

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FOLDER = ROOT / "benchmarks" / "selection"
CURVES, SEALED_CURVES, PREDICTIONS = "curves.parquet", "test.parquet", "predictions.safetensors"
#: What identifies a training.
KEYS = ["number", "part", "seed", "weight", "temperature"]


def rows_of(split: str) -> Integers:
    """The utterances of a split."""
    return corpus().rows(corpus().dialogues(split))


def rows_of_quarter(quarter: int) -> Integers:
    """The utterances of a quarter of train."""
    return corpus().rows(np.flatnonzero(quarter_of_dialogue() == quarter))


def counts_of(predicted: Integers, rows: Integers) -> Integers:
    """The confusion matrix of predicted classes for these rows."""
    return confusion_matrix(corpus().labels[rows], predicted, len(corpus().classes))


def f1_of(log_prob: NDArray[Any], rows: Integers) -> float:
    """Weighted F1 of predictions for these rows."""
    return float(weighted_f1(counts_of(log_prob.argmax(axis=1).astype(np.int64), rows)))


def epoch_scores(predictions: Predictions, held: tuple[int, ...]) -> pd.DataFrame:
    """Weighted F1 after every epoch; a row for each.

    dev: on dev; corrected: on dev with the class frequencies of train; held0 to held3: on a quarter that was
    left out; both0 to both3: on dev and that quarter together.
    """
    classes = predictions.log_prob.argmax(axis=2).astype(np.int64)
    dev = rows_of("dev")
    frequency = [np.bincount(corpus().labels[rows], minlength=len(corpus().classes)) / len(rows)
                 for rows in (rows_of("train"), dev)]  # fmt: skip
    ratio = (frequency[0] / frequency[1])[:, None]
    table: list[dict[str, float]] = []
    for epoch, predicted in enumerate(classes, start=1):
        on_dev = counts_of(predicted[np.searchsorted(predictions.rows, dev)], dev)
        row = {"epoch": epoch, "dev": weighted_f1(on_dev), "corrected": weighted_f1(on_dev * ratio)}
        for quarter in range(QUARTERS):
            row |= {f"held{quarter}": np.nan, f"both{quarter}": np.nan}
            if quarter in held:
                rows = rows_of_quarter(quarter)
                counts = counts_of(predicted[np.searchsorted(predictions.rows, rows)], rows)
                row[f"held{quarter}"], row[f"both{quarter}"] = (
                    weighted_f1(counts),
                    weighted_f1(counts + on_dev),
                )
        table.append({name: float(value) for name, value in row.items()})
    return pd.DataFrame(table).astype({"epoch": int})


def write_tables(folder: Path = FOLDER) -> int:
    """Write the tables of all finished trainings; returns how many trainings there are."""
    curves, sealed, kept, names = [], [], [], []
    for path in sorted(trainings.TRAININGS.glob("*.safetensors")):
        content, predictions = map_arrays(path)[1], read(path)
        part = Part(tuple(map(int, content["part"])))
        keys = {"number": content["number"], "part": part.name, "seed": content["seed"]}
        keys |= {name: content.get(name, np.nan) for name in ("weight", "temperature")}
        if not len(predictions.log_prob):  # it diverged in its first epoch
            continue
        scores = epoch_scores(predictions, part.held)
        curves.append(
            scores.assign(**keys, params=json.dumps(content["params"]), seconds=predictions.seconds)
        )
        if part == WHOLE:
            sealed.append(_sealed_scores(trainings.SEALED / path.name).assign(**keys))
        elif pd.isna(keys["weight"]):
            rows = np.concatenate([rows_of_quarter(quarter) for quarter in part.held])
            best = int(scores["dev"].to_numpy().argmax())
            kept.append(predictions.log_prob[best, np.searchsorted(predictions.rows, rows)])
            names.append([keys["number"], part.name, keys["seed"]])
    for name, tables in ((CURVES, curves), (SEALED_CURVES, sealed)):
        if tables:
            table = pd.concat(tables, ignore_index=True)
            columns = [*KEYS, *(column for column in table.columns if column not in KEYS)]
            with replacing(folder / name) as temporary:
                table[columns].to_parquet(temporary, compression="zstd", index=False)
    if kept:
        write_arrays(
            folder / PREDICTIONS, {"log_prob": np.concatenate(kept)}, {"trainings": names, "corpus": _hash()}
        )
    return len(curves)


def _sealed_scores(path: Path) -> pd.DataFrame:
    """Weighted F1 on test after every epoch: the only place that reads its labels."""
    from benchmarks.selection.quarters import corpus_with_test

    predictions, opened = read(path), corpus_with_test()
    labels, classes = opened.labels[predictions.rows], predictions.log_prob.argmax(axis=2).astype(np.int64)
    scores = [float(weighted_f1(confusion_matrix(labels, one, len(opened.classes)))) for one in classes]
    return pd.DataFrame({"epoch": range(1, len(scores) + 1), "test": scores})


def _hash() -> str:
    return corpus().content_hash()


@dataclass(frozen=True, eq=False)
class Measured:
    """The committed tables."""

    curves: pd.DataFrame
    log_prob: NDArray[np.float16]  #: [rows of all trainings in `index`, classes]
    index: list[tuple[int, str, int]]  #: number, part, seed

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Measured:
        """The tables in `folder`."""
        arrays, content = map_arrays(folder / PREDICTIONS)
        index = [(int(number), str(part), int(seed)) for number, part, seed in content["trainings"]]
        return cls(pd.read_parquet(folder / CURVES), arrays["log_prob"], index)

    @cached_property
    def _by_training(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        table = self.curves.assign(weight=self.curves["weight"].fillna(0.0))
        table = table.assign(temperature=table["temperature"].fillna(0.0))
        return {key: rows.sort_values("epoch") for key, rows in table.groupby(KEYS)}

    @cached_property
    def _places(self) -> dict[tuple[int, str, int], int]:
        starts, at = {}, 0
        for number, part, seed in self.index:
            starts[number, part, seed] = at
            at += sum(len(rows_of_quarter(quarter)) for quarter in Part(tuple(map(int, part))).held)
        return starts

    def scores(
        self, number: int, part: Part, seed: int = 0, taught: tuple[float, float] = (0.0, 0.0)
    ) -> pd.DataFrame | None:
        """The epochs of a training; None if it was not made or diverged."""
        return self._by_training.get((number, part.name, seed, *taught))

    def probability(self, number: int, part: Part, quarter: int, seed: int = 0) -> Floats:
        """What a training predicts for a quarter that it left out, at its best epoch on dev. [U, classes]"""
        start = self._places[number, part.name, seed]
        start += sum(len(rows_of_quarter(one)) for one in part.held if one < quarter)
        kept = self.log_prob[start : start + len(rows_of_quarter(quarter))]
        return np.exp(kept.astype(np.float64))

    def complete(self, needed: list[Part]) -> list[int]:
        """The configurations that were trained on all these parts, without one that diverged."""
        epochs = int(self.curves["epoch"].max())
        found = [
            number
            for number in sorted(self.curves["number"].unique())
            if all(
                (scores := self.scores(number, part)) is not None and len(scores) == epochs for part in needed
            )
        ]
        return [int(number) for number in found]
