"""The split of every dialogue: one file each, a column, or drawn by dialogue and stratified by class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import SPLITS
from rigsl.data.folds import stratified_parts
from rigsl.data.own.columns import SPLIT_OF
from rigsl.data.own.utterances import Utterances
from rigsl.errors import UserError
from rigsl.wording import counted, listed

#: Drawn splits are tenths: one for test, one for dev, the others for train.
PARTS = 10


@dataclass(frozen=True)
class Splits:
    """The split of every utterance, and how it was found."""

    of_row: np.ndarray  #: uint8 [U], index into SPLITS
    record: dict[str, Any]  #: JSON-able, for the provenance


def splits_of_files(files: Sequence[Path], words: Sequence[str]) -> list[str]:
    """The split of each file, from the words of --splits or from the files' names; [] where neither says.

    Raises:
        UserError: a word is no split, or there are not as many as files; or only some names say a split, or
            none says train or test.
    """
    if words:
        if len(words) != len(files):
            names, sizes = counted(len(words), "split"), counted(len(files), "file")
            raise UserError(f"--splits: names {names} for {sizes}; name one for each")
        return as_splits(words, "--splits")
    if len(files) < 2:
        return []
    found = [_named_in(path.stem) for path in files]
    named = [split for split in found if split is not None]
    if not named:
        return []
    if len(named) < len(files) or len(set(named)) < len(named):
        raise UserError(
            f"{files[0]}: the names of the files say a split of some only, or twice the same; say which "
            f"split each is with --splits {' '.join(['train', 'dev', 'test'][: len(files)])}"
        )
    if absent := [split for split in ("train", "test") if split not in named]:
        raise UserError(
            f"{files[0]}: the names of the files say the splits {listed(named)}, and none is {absent[0]}; "
            "give its file, too, or say which split each is with --splits train test"
        )
    return named


def as_splits(words: Sequence[str], source: str) -> list[str]:
    """The splits that these words mean: ``val`` -> ``dev``.

    Raises:
        UserError: one means none.
    """
    for word in words:
        if word.lower() not in SPLIT_OF:
            raise UserError(f"{source}: {word!r} is not a split; the splits are {', '.join(SPLITS)}")
    return [SPLIT_OF[word.lower()] for word in words]


def _named_in(stem: str) -> str | None:
    """The split that the name of a file says: ``train_sent_emo`` -> ``train``."""
    found = {SPLIT_OF[word] for word in re.split(r"[\W_]+|\d+", stem.lower()) if word in SPLIT_OF}
    return found.pop() if len(found) == 1 else None


def find_splits(utterances: Utterances, labels: np.ndarray, seed: int) -> Splits:
    """The split of every utterance: the one that is given, or drawn; a dev split that is missing is drawn.

    Args:
        utterances: the utterances, with a split each or none.
        labels: class of each [U].
        seed: of the draw.

    Raises:
        UserError: a split is unknown, a dialogue is in two, train or test is missing, or there are too few
            dialogues to draw from.
    """
    rows = utterances.rows
    dialogue = rows["dialogue"].factorize()[0]
    if rows["split"].eq("").all():
        return _drawn(utterances, dialogue, labels, seed)
    of_row = _given(utterances)
    present = set(of_row.tolist())
    for split in ("train", "test"):
        if SPLITS.index(split) not in present:
            raise UserError(
                f"{utterances.tables[0].source}: no utterance is in {split}; add some, or leave out the "
                "splits to have them drawn"
            )
    record: dict[str, Any] = {"how": "given"}
    if SPLITS.index("dev") not in present:
        train = np.flatnonzero(of_row == SPLITS.index("train"))
        parts = _parts(utterances, dialogue[train], labels[train], seed)
        held = _keeping_classes(labels[train], dialogue[train], [parts[0]])[0]
        of_row[train[held]] = SPLITS.index("dev")
        record = {"how": f"train and test given, dev drawn from train: {_HOW}", "seed": seed}
    return Splits(of_row, record)


_HOW = "by dialogue, stratified by class"


def _given(utterances: Utterances) -> np.ndarray:
    """The split of every utterance by its text."""
    texts = utterances.rows["split"].str.lower()
    utterances.check(
        texts.isin(SPLIT_OF).to_numpy(), "split", f"is not a split; the splits are {', '.join(SPLITS)}"
    )
    of_row = texts.map(SPLIT_OF).map(SPLITS.index).to_numpy(np.uint8)
    first = utterances.rows.assign(index=of_row).groupby("dialogue", sort=False)["index"].transform("first")
    utterances.check(
        of_row == first.to_numpy(),
        "split",
        "differs from that of the other rows of its dialogue; put a dialogue into one split, and give "
        "different dialogues different names",
    )
    return of_row


def _drawn(utterances: Utterances, dialogue: np.ndarray, labels: np.ndarray, seed: int) -> Splits:
    """Eight tenths train, one dev and one test."""
    parts = _parts(utterances, dialogue, labels, seed)
    of_row = np.zeros(len(labels), dtype=np.uint8)
    held = _keeping_classes(labels, dialogue, [parts[0], parts[1]])
    for split, rows in zip(("test", "dev"), held, strict=True):
        if not len(rows):
            raise UserError(
                f"{utterances.tables[0].source}: {split} would be empty, because its classes are in no other "
                "dialogue; give a column with the split of every utterance"
            )
        of_row[rows] = SPLITS.index(split)
    shares = dict(zip(SPLITS, (PARTS - 2, 1, 1), strict=True))
    return Splits(of_row, {"how": f"drawn {_HOW}", "seed": seed, "tenths": shares})


def _parts(utterances: Utterances, dialogue: np.ndarray, labels: np.ndarray, seed: int) -> list[np.ndarray]:
    count = len(np.unique(dialogue))
    if count < PARTS:
        raise UserError(
            f"{utterances.tables[0].source}: has {counted(count, 'dialogue')} to draw splits from, and "
            f"{PARTS} are needed; give a column with the split of every utterance"
        )
    return stratified_parts(labels, dialogue, PARTS, seed)


def _keeping_classes(
    labels: np.ndarray, dialogue: np.ndarray, held: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The rows of `held` without the dialogues that are moved back, so that the rest has every class."""
    out = np.full(len(labels), -1)
    for part, rows in enumerate(held):
        out[rows] = part
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if (out[rows] >= 0).all():
            out[dialogue == dialogue[rows[0]]] = -1
    return [np.flatnonzero(out == part) for part in range(len(held))]
