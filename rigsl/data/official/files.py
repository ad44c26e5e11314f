"""The official RIGSL feature files: their names, their items, where to get them, and checked access.

Facts from the dataset readers of github.com/FarisXiong/RIGSL (``dataloader.py``). Items are counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigsl.data.official.pickles import load_pickle
from rigsl.data.open.meld import CLASSES
from rigsl.errors import UserError
from rigsl.wording import counted

DOWNLOAD = "the link 'multimodal-features' in the README of github.com/FarisXiong/RIGSL"
VIEWS = ("roberta1", "roberta2", "roberta3", "roberta4")
_FEATURE_ITEMS = ("ids", "speakers", "labels", "text", "audio", "visual", "sentences", "trainVid", "testVid")


@dataclass(frozen=True)
class Layout:
    """The two files of a dataset."""

    files: tuple[str, str]  #: names of the files: features, RoBERTa vectors
    items: tuple[tuple[str, ...], tuple[str, ...]]  #: items of each file, in order
    widths: Mapping[str, int]  #: item -> width of a row
    classes: tuple[str, ...]  #: in the order of the labels
    n_speakers: int
    text_default: str


LAYOUTS = {
    "IEMOCAP": Layout(
        files=("IEMOCAP_features.pkl", "iemocap_features_roberta.pkl"),
        items=(
            _FEATURE_ITEMS,
            ("speakers", "labels", *VIEWS, "sentences", "trainIds", "testIds", "validIds"),
        ),
        widths={"audio": 1582, "visual": 342} | dict.fromkeys(VIEWS, 1024),
        classes=("hap", "sad", "neu", "ang", "exc", "fru"),
        n_speakers=2,
        text_default="first",
    ),
    "MELD": Layout(
        files=("MELD_features_raw1.pkl", "meld_features_roberta.pkl"),
        items=(
            (*_FEATURE_ITEMS, "the unused tenth"),
            ("speakers", "emotions", "sentiments", *VIEWS, "sentences", "trainIds", "testIds", "validIds"),
        ),
        widths={"audio": 300, "visual": 342} | dict.fromkeys(VIEWS, 1024),
        classes=CLASSES,
        n_speakers=9,
        text_default="mean",
    ),
}


@dataclass(frozen=True)
class Items:
    """The items of one file by name."""

    path: Path
    names: tuple[str, ...]
    values: tuple[Any, ...]

    def __getitem__(self, name: str) -> Any:
        return self.values[self.names.index(name)]

    def problem(self, name: str, complaint: str) -> UserError:
        """The error of an item: ``FILE: item 5 (audio) ...``."""
        return UserError(f"{self.path}: item {self.names.index(name) + 1} ({name}) {complaint}")

    def dialogues(self, name: str) -> dict[Any, Any]:
        """An item that is a dict: dialogue -> value.

        Raises:
            UserError: it is not a dict.
        """
        value = self[name]
        if not isinstance(value, dict):
            raise self.problem(name, f"is a {type(value).__name__}, not a dict of dialogues")
        return value


def official_paths(dataset: str, folder: Path) -> tuple[Path, Path] | None:
    """The dataset's two files in `folder` or its subfolder ``iemocap`` / ``meld``; None if both are missing.

    Raises:
        UserError: only one of them is missing.
    """
    names = LAYOUTS[dataset].files
    candidates = [(folder / name, folder / dataset.lower() / name) for name in names]
    first, second = (next((path for path in paths if path.is_file()), None) for paths in candidates)
    if first is None and second is None:
        return None
    if first is None or second is None:
        present, missing = (second, names[0]) if first is None else (first, names[1])
        raise UserError(f"{present} is there, but {missing} is not beside it; get both from {DOWNLOAD}")
    return first, second


def missing_files(dataset: str, folder: Path) -> str:
    """A sentence on the missing files: what to download, and where to put it."""
    first, second = LAYOUTS[dataset].files
    return (
        f"the official features of {dataset} are not in {folder}; put {first} and {second} there or into "
        f"{folder / dataset.lower()} (download: {DOWNLOAD})"
    )


def read_items(dataset: str, paths: tuple[Path, Path]) -> tuple[Items, Items]:
    """The items of both files.

    Raises:
        UserError: a file is not a pickle of the right number of items; see also `load_pickle`.
    """
    first, second = (_read(path, names) for path, names in zip(paths, LAYOUTS[dataset].items, strict=True))
    return first, second


def _read(path: Path, names: tuple[str, ...]) -> Items:
    content = load_pickle(path)
    if not isinstance(content, list | tuple):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a tuple of {len(names)} items")
    if len(content) != len(names):
        raise UserError(f"{path}: has {counted(len(content), 'item')}, not {len(names)} ({', '.join(names)})")
    return Items(path, names, tuple(content))
