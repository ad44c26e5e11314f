"""The features that a user brings as modalities of a corpus: joined, filled on request, scaled on train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigsl.data.corpus import SPLITS
from rigsl.data.own.features.files import read_features, rows_of_table
from rigsl.data.own.features.rows import By, FeatureRows, joined, missing_refused, pair
from rigsl.data.own.reading.cells import as_text
from rigsl.data.own.utterances import Utterances
from rigsl.data.scaling import LIMIT, mean_and_std, standardise
from rigsl.errors import UserError
from rigsl.modalities import TEXT, modality_key

if TYPE_CHECKING:
    import pandas as pd

#: Key of the provenance: modality -> how its features were made.
FEATURES = "features"
#: What may stand for the features of utterances that lack them.
MISSING = ("mean",)


@dataclass(frozen=True)
class Modality:
    """One modality: its features, and where they come from."""

    array: np.ndarray  #: float16 [U, D], or [U, 1, D] of text
    record: dict[str, Any]  #: JSON-able


def feature_rows(name: str, value: Path | str | np.ndarray | pd.DataFrame | Mapping[Any, Any]) -> FeatureRows:
    """The features of a modality.

    Args:
        name: of the modality.
        value: a file or folder, an array with a row for each row of the transcript, a table with the columns
            dialogue and utterance, or a mapping of (dialogue, utterance) to vectors.

    Raises:
        UserError: they cannot be read, or do not name the utterances.
    """
    if isinstance(value, str | Path):
        return read_features(Path(value))
    source = f"features {name!r}"
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            raise UserError(f"{source}: is an array of {value.dtype}; give numbers")
        return FeatureRows(source, value.astype(np.float64), By.ROW, range(len(value) if value.ndim else 0))
    if isinstance(value, Mapping):
        return _of_mapping(source, value)
    if not hasattr(value, "columns"):
        raise UserError(
            f"{source}: is a {type(value).__name__}; give a path, an array, a data frame or a dict"
        )
    return rows_of_table(value.reset_index(drop=True), source)


def _of_mapping(source: str, value: Mapping[Any, Any]) -> FeatureRows:
    try:
        if not all(isinstance(key, tuple) for key in value):
            raise TypeError
        keys = [pair(as_text(dialogue), as_text(utterance)) for dialogue, utterance in value]
        table = np.array([np.asarray(vector, dtype=np.float64) for vector in value.values()])
    except (TypeError, ValueError):
        raise UserError(
            f"{source}: is not a dict of (dialogue, utterance) to vectors of one width; write it in this way"
        ) from None
    return FeatureRows(source, table, By.UTTERANCE, keys)


def make_modality(
    name: str, features: FeatureRows, utterances: Utterances, splits: np.ndarray, missing: str | None
) -> Modality:
    """Features for every utterance, with mean 0 and standard deviation 1 on train, clipped.

    With `missing` "mean", a number that an utterance lacks becomes 0, the mean of train, and the last column
    is 1 where an utterance lacks any. There is no such column where nothing is missing.

    Args:
        name: of the modality.
        features: what the user brings.
        utterances: of the corpus.
        splits: of every utterance [U], index into SPLITS.
        missing: what to do about utterances without features; None: refuse them.

    Raises:
        UserError: an utterance has no features, or no utterance of train has any.
    """
    values, unused = joined(features, utterances)
    lacks = np.isnan(values).any(axis=1)
    if lacks.any() and missing is None:
        raise missing_refused(name, features, np.flatnonzero(lacks), utterances)
    train = splits == SPLITS.index("train")
    if np.isnan(values[train]).all():
        raise UserError(f"{features.source}: no utterance of train has {name} features; add some")
    mean, std = mean_and_std(values[train])
    table = standardise(values, mean, std)
    if lacks.any():
        table = np.concatenate([table, lacks[:, None].astype(np.float32)], axis=1)
    array = table.astype(np.float16)
    record = {
        "files": dict(features.hashes or {}),
        "joined by": features.by.value,
        "columns": list(features.columns),
        "mean_of_train": mean.tolist(),
        "std_of_train": std.tolist(),
        "standardised_on": "train",
        "clipped_to": LIMIT,
        "missing": _by_split(lacks, splits),
        "indicator": bool(lacks.any()),
        "unused_rows": unused,
    }
    return Modality(array[:, None] if modality_key(name) == TEXT else array, record)


def _by_split(lacks: np.ndarray, splits: np.ndarray) -> dict[str, int]:
    """Split -> number of its utterances that lack a number."""
    return {split: int(lacks[splits == index].sum()) for index, split in enumerate(SPLITS)}
