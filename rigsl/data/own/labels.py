"""Labels of utterances: one class each. Numbers on a scale, and several labels at once, are refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rigsl.data.corpus import SPLITS
from rigsl.data.own.utterances import Utterances

if TYPE_CHECKING:
    import pandas as pd

#: More classes than this are free text, and more whole numbers a scale.
MOST_CLASSES, MOST_NUMBERS = 200, 50
_NO_SCALE = "and continuous targets are not supported; cut the scale into classes"
_FRACTION = re.compile(r"[-+]?(\d+[.,]\d*|[.,]\d+|\d+(\.\d*)?e[-+]?\d+)", re.IGNORECASE)
_SEVERAL = re.compile(r"\s*[;|,]\s*")
_BRACKETS = {"[": "]", "{": "}", "(": ")"}


def read_labels(utterances: Utterances) -> tuple[np.ndarray, tuple[str, ...]]:
    """Index of the class of every utterance, int64 [U], and the names of the classes in alphabetical order.

    Whole numbers are in the order of their size. Names that differ in case alone are one class, which has the
    name of its first utterance.

    Raises:
        UserError: a label is a number on a scale, or several labels; or there is one class, or too many.
    """
    folded = utterances.rows["label"].str.casefold()
    given = utterances.rows.assign(folded=folded).sort_values("given", kind="stable")
    spelling = given.drop_duplicates("folded").set_index("folded")["label"]
    _check_number(utterances, folded, list(spelling.index))
    _check_one_each(utterances, folded, list(spelling.index))
    names = sorted(spelling.index, key=int if _whole(spelling.index) else str)
    index = {name: number for number, name in enumerate(names)}
    return folded.map(index).to_numpy(np.int64), tuple(str(spelling[name]) for name in names)


def _whole(names: Iterable[str]) -> bool:
    return all(re.fullmatch(r"-?\d{1,9}", name) for name in names)


def _check_number(utterances: Utterances, folded: pd.Series[str], names: Sequence[str]) -> None:
    """Check that there are classes, and not numbers on a scale or free text."""
    scale = [name for name in names if _FRACTION.fullmatch(name)]
    utterances.check(~folded.isin(scale).to_numpy(), "label", f"is a number on a scale, {_NO_SCALE}")
    if _whole(names):
        beyond, what = names[MOST_NUMBERS:], f"and there are {len(names)} such numbers: a scale, {_NO_SCALE}"
    else:
        beyond, what = (
            names[MOST_CLASSES:],
            f"is class {MOST_CLASSES + 1}: free text; name a column of classes",
        )
    utterances.check(~folded.isin(beyond).to_numpy(), "label", what)
    if len(names) < 2:
        nowhere = np.zeros(len(folded), dtype=bool)
        utterances.check(nowhere, "label", "is the only class; there must be two to tell apart")


def _check_one_each(utterances: Utterances, folded: pd.Series[str], names: Sequence[str]) -> None:
    """Check that no label is several labels: a list, or parts of which another label has one, too."""
    parts = {name: _SEVERAL.split(name) for name in names}
    users = Counter(part for members in parts.values() for part in set(members))
    several = [
        name
        for name, members in parts.items()
        if _is_list(name) or (len(members) > 1 and any(users[member] > 1 for member in members))
    ]
    utterances.check(
        ~folded.isin(several).to_numpy(),
        "label",
        "is several labels, and targets with several labels are not supported; choose one for each utterance",
    )


def _is_list(text: str) -> bool:
    return len(text) > 1 and _BRACKETS.get(text[0]) == text[-1] and bool(re.search(r"[,:]", text))


def check_learnable(utterances: Utterances, labels: np.ndarray, splits: np.ndarray) -> None:
    """Check that train has every class that dev and test have.

    Args:
        utterances: the utterances.
        labels: class of each [U].
        splits: split of each [U].

    Raises:
        UserError: it has not; the sentence names the first such utterance.
    """
    seen = np.isin(labels, labels[splits == SPLITS.index("train")])
    bad = np.flatnonzero(~seen)
    split = SPLITS[splits[bad[utterances.rows["given"].to_numpy()[bad].argmin()]]] if bad.size else ""
    utterances.check(
        seen,
        "label",
        f"is in {split} but not in train; move a dialogue with it, or merge it with another class",
    )
