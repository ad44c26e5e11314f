"""Files of features -> `FeatureRows`: NumPy arrays, and tables with a column for every number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.npyio import NpzFile

from rigsl.data.own.columns import USUAL_NAMES, find_columns, normal
from rigsl.data.own.features.clips import read_folder, read_named_rows
from rigsl.data.own.features.number_table import CLIP, is_number_table, read_number_table, vectors
from rigsl.data.own.features.rows import By, FeatureRows, pair
from rigsl.data.own.reading.cells import as_name, as_text
from rigsl.data.own.reading.tables import read_table
from rigsl.errors import UserError, first_line
from rigsl.files import sha256
from rigsl.wording import listed

if TYPE_CHECKING:
    import pandas as pd

#: What files of features may be, in words.
FORMATS = ".npz, .npy with an index, CSV, TSV, Parquet, or a folder of CSV files of openSMILE or OpenFace"
_INDICES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
_KEY_COLUMNS = ("dialogue", "utterance", "split")


def read_features(path: Path) -> FeatureRows:
    """The features in a file or folder.

    Raises:
        UserError: it cannot be read, is of another format, or does not name the utterances.
    """
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise UserError(f"{path}: is not there; give a file or folder of features")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _from_npz(path)
    if suffix == ".npy":
        return _from_npy(path)
    if is_number_table(path):
        return rows_of_table(read_number_table(path), path, {path.name: sha256(path)})
    pickled = suffix in (".pkl", ".pickle", ".pt", ".pth")
    advice = "pickles can run code, so save arrays as .npz" if pickled else "save it as one of these"
    raise UserError(f"{path}: is not {FORMATS} by its name; {advice}")


def rows_of_table(
    frame: pd.DataFrame, source: Path | str, hashes: Mapping[str, str] | None = None
) -> FeatureRows:
    """The features in a table with the columns dialogue and utterance, or with the name of a clip.

    Raises:
        UserError: it has neither, or holds labels, or a cell is no number.
    """
    header = [str(name) for name in frame.columns]
    if labels := [name for name in header if normal(name) in USUAL_NAMES["label"]]:
        raise UserError(
            f"{source}: holds the column {labels[0]}, which is a label; remove it from the features"
        )
    names = find_columns(header, source, chosen={}, wanted=_KEY_COLUMNS)
    clips = [name for name in header if normal(name) in CLIP]
    if "dialogue" in names and "utterance" in names:
        values, columns = vectors(frame.drop(columns=list(names.values())), source)
        keys = _pairs(frame, names)
        return FeatureRows(source, values, By.UTTERANCE, keys, columns, hashes)
    if clips:
        return read_named_rows(frame, source, clips[0], hashes)
    raise UserError(
        f"{source}: does not say which utterance a row is of; give it the columns dialogue and utterance, or "
        "name with the file name of the clip"
    )


def _pairs(frame: pd.DataFrame, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """(dialogue, utterance) of every row, with the split in front of the dialogue where there is one."""
    cells = {meaning: frame[name].map(as_text) for meaning, name in names.items()}
    dialogues = cells["dialogue"]
    if "split" in cells:
        dialogues = cells["split"] + "_" + dialogues
    return [pair(*key) for key in zip(dialogues, cells["utterance"], strict=True)]


def _load(path: Path, kind: type) -> Any:
    try:
        content = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy, zipfile and the parser of headers have many ways to fail
        raise UserError(
            f"{path}: is not a NumPy file that can be read ({first_line(error, length=120)})"
        ) from None
    if not isinstance(content, kind):
        other = ".npy" if path.suffix.lower() == ".npz" else ".npz"
        raise UserError(f"{path}: holds what a {other} file does; give it that name")
    return content


def _from_npz(path: Path) -> FeatureRows:
    """One array of vectors with the arrays dialogue and utterance, or an array for each dialogue or clip."""
    arrays: dict[str, np.ndarray] = {}
    with _load(path, NpzFile) as archive:
        for name in archive.files:
            try:
                arrays[name] = archive[name]
            except Exception as error:
                reason = first_line(error, length=120)
                raise UserError(
                    f"{path}: the array {name!r} cannot be read ({reason}); write it again"
                ) from None
    hashes = {path.name: sha256(path)}
    names = find_columns(list(arrays), path, chosen={}, wanted=_KEY_COLUMNS)
    if "dialogue" in names and "utterance" in names:
        others = [name for name in arrays if name not in names.values()]
        if len(others) != 1:
            found = listed(others) or "none"
            raise UserError(f"{path}: must hold one array of features beside its names; it holds {found}")
        index = _index_frame({meaning: arrays[name] for meaning, name in names.items()}, path)
        keys = _pairs(index, {meaning: meaning for meaning in names})
        return FeatureRows(path, _numbers(arrays[others[0]], path, others[0]), By.UTTERANCE, keys, (), hashes)
    return _by_name(arrays, path, hashes)


def _index_frame(arrays: Mapping[str, np.ndarray], path: Path) -> pd.DataFrame:
    import pandas as pd

    if len({array.shape for array in arrays.values()}) > 1 or any(a.ndim != 1 for a in arrays.values()):
        raise UserError(f"{path}: the arrays {listed(list(arrays))} must be of one length; write them again")
    return pd.DataFrame({name: array.tolist() for name, array in arrays.items()})


def _by_name(arrays: Mapping[str, np.ndarray], path: Path, hashes: Mapping[str, str]) -> FeatureRows:
    """Vectors [D] of clips, or [utterances, D] of dialogues, under their names."""
    if not arrays:
        raise UserError(f"{path}: holds no arrays; give one for each dialogue")
    parts = {name: _numbers(array, path, name) for name, array in arrays.items()}
    if len({(array.ndim, array.shape[-1:]) for array in parts.values()}) > 1:
        raise UserError(f"{path}: the vectors of its arrays differ in width; give all the same width")
    clips = all(array.ndim == 1 for array in parts.values())
    if clips:
        return FeatureRows(path, np.stack(list(parts.values())), By.CLIP, list(parts), (), hashes)
    if any(array.ndim != 2 for array in parts.values()):
        raise UserError(
            f"{path}: its arrays are not [utterances, width]; give such an array for each dialogue"
        )
    keys = [(as_name(name), position) for name, array in parts.items() for position in range(len(array))]
    return FeatureRows(path, np.concatenate(list(parts.values())), By.PLACE, keys, (), hashes)


def _from_npy(path: Path) -> FeatureRows:
    """An array [utterances, D]; a table beside it with the same name says which utterance each row is of."""
    found = [path.with_suffix(suffix) for suffix in _INDICES if path.with_suffix(suffix).is_file()]
    if not found:
        raise UserError(
            f"{path}: needs an index beside it, such as {path.with_suffix('.csv').name} with the columns "
            "dialogue and utterance and a row for each of its rows"
        )
    values = _numbers(_load(path, np.ndarray), path, "it")
    cells = read_table(found[0]).cells
    header = [str(name) for name in cells.columns]
    names = find_columns(header, found[0], chosen={}, wanted=_KEY_COLUMNS, required=("dialogue", "utterance"))
    hashes = {path.name: sha256(path), found[0].name: sha256(found[0])}
    return FeatureRows(path, values, By.UTTERANCE, _pairs(cells, names), (), hashes)


def _numbers(array: np.ndarray, path: Path, name: str) -> np.ndarray:
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise UserError(
            f"{path}: {name} holds {array.dtype} of the shape {list(array.shape)}, not an array of numbers"
        )
    with np.errstate(invalid="ignore"):  # of a NaN that signals
        return array.astype(np.float64)
