"""Features of clips, whose file names name utterances: openSMILE and OpenFace, one row or many a clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from rigsl.data.own.columns import normal
from rigsl.data.own.features.number_table import read_number_table, vectors
from rigsl.data.own.features.rows import By, FeatureRows
from rigsl.data.own.reading.cells import as_text
from rigsl.errors import UserError
from rigsl.files import sha256

if TYPE_CHECKING:
    import pandas as pd

_SUCCESS = "success"  # OpenFace: whether a face was found in the frame


def read_folder(folder: Path) -> FeatureRows:
    """A CSV file for every clip, as OpenFace writes them; its name without .csv is that of the clip.

    Raises:
        UserError: there are none, or one cannot be read or has other columns.
    """
    import pandas as pd

    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise UserError(f"{folder}: holds no CSV files; give a folder with one for each utterance")
    frames: list[pd.DataFrame] = []
    for path in paths:
        frame = read_number_table(path)
        if frames and list(frame.columns) != list(frames[0].columns):
            raise UserError(
                f"{path}: has other columns than {paths[0].name}; extract all with the same settings"
            )
        frames.append(frame)
    names = [path.stem for path, frame in zip(paths, frames, strict=True) for _ in range(len(frame))]
    hashes = {path.name: sha256(path) for path in paths}
    return _pooled(pd.concat(frames, ignore_index=True), names, folder, hashes)


def read_named_rows(
    frame: pd.DataFrame, source: Path | str, column: str, hashes: Mapping[str, str] | None
) -> FeatureRows:
    """A table with the file name of a clip in `column`, as openSMILE writes it.

    Raises:
        UserError: a cell is no number.
    """
    names = [clip_name(as_text(value)) for value in frame[column]]
    return _pooled(frame.drop(columns=[column]), names, source, hashes)


def clip_name(text: str) -> str:
    """The name of a clip: its file name without folders, quotation marks and ending."""
    path = PurePath(text.strip().strip("'\"").replace("\\", "/"))
    return (
        path.stem if path.suffix.lower() in (".wav", ".mp4", ".mp3", ".flac", ".avi", ".mkv") else path.name
    )


def _pooled(
    frame: pd.DataFrame, names: list[str], source: Path | str, hashes: Mapping[str, str] | None
) -> FeatureRows:
    """One vector for each clip; of clips with several rows (frames), the mean and the standard deviation.

    Frames without a face do not count. The vector of a clip without any is not known.
    """
    good = np.ones(len(frame), dtype=bool)
    for name in frame.columns:
        if normal(str(name)) == _SUCCESS:
            good &= frame[name].to_numpy() == 1
    values, columns = vectors(frame, source)
    values[~good] = np.nan
    clips = list(dict.fromkeys(names))
    if len(clips) == len(names):
        return FeatureRows(source, values, By.CLIP, clips, columns, hashes)
    number = {name: index for index, name in enumerate(clips)}
    of_row = np.array([number[name] for name in names])
    return FeatureRows(source, _moments(values, of_row, len(clips)), By.CLIP, clips, _named(columns), hashes)


def _named(columns: tuple[str, ...]) -> tuple[str, ...]:
    return (*(f"{name}_mean" for name in columns), *(f"{name}_std" for name in columns))


def _moments(values: np.ndarray, of_row: np.ndarray, clips: int) -> np.ndarray:
    """Mean and standard deviation over the known rows of each clip, [clips, 2 D]; NaN where there is none."""
    result = np.full((clips, 2 * values.shape[1]), np.nan)
    order = np.argsort(of_row, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(of_row[order])) + 1):
        part = values[rows]
        count = np.isfinite(part).sum(axis=0)
        filled = np.where(np.isfinite(part), part, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = filled.sum(axis=0) / count
            variance = np.where(np.isfinite(part), (part - mean) ** 2, 0.0).sum(axis=0) / count
        result[of_row[rows[0]]] = np.concatenate([mean, np.sqrt(variance)])
    return result
