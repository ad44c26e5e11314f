"""The values of one dialogue in an item of an official feature file, checked.

Every function raises UserError if a value has the wrong type, length, width or range; the sentence names
file, item and dialogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rigsl.data.official.files import Items
from rigsl.wording import counted


def labels_of(items: Items, key: Any, classes: int) -> np.ndarray:
    """The labels, int64 [T]."""
    try:
        labels = np.asarray(items["labels"][key], dtype=np.float64)
    except (TypeError, ValueError):
        labels = np.empty((0, 0))
    if labels.ndim != 1 or not labels.size:
        raise items.problem("labels", f"of dialogue {key!r} are not a list of numbers")
    if not (np.isin(labels, np.arange(classes))).all():
        bad = int(np.flatnonzero(~np.isin(labels, np.arange(classes)))[0])
        raise items.problem(
            "labels", f"of dialogue {key!r}: {labels[bad]:g} of utterance {bad} is not 0 to {classes - 1}"
        )
    return labels.astype(np.int64)


def speakers_of(items: Items, key: Any, length: int, count: int) -> np.ndarray:
    """The speakers, int64 [T]: of two, 'M' is 0 and 'F' is 1; of more, a one-hot row gives the number."""
    values = list(_sized(items, "speakers", key, length))
    if count == 2:
        names = [_text(items, "speakers", key, value) for value in values]
        for name in names:
            if name not in ("M", "F"):
                raise items.problem("speakers", f"of dialogue {key!r}: {name!r} is not 'M' or 'F'")
        return np.array([0 if name == "M" else 1 for name in names], dtype=np.int64)
    rows = _numbers(items, "speakers", key, values, count)
    if not (((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()):
        raise items.problem("speakers", f"of dialogue {key!r} are not one-hot rows")
    return np.asarray(rows.argmax(axis=1), dtype=np.int64)


def sentences_of(items: Items, key: Any, length: int) -> list[str]:
    """The texts of the utterances; bytes that Python 2 wrote are read as UTF-8."""
    _sized(items, "ids", key, length)
    return [_text(items, "sentences", key, value) for value in _sized(items, "sentences", key, length)]


def _text(items: Items, name: str, key: Any, value: Any) -> str:
    if not isinstance(value, str | bytes | int | float | np.generic):
        raise items.problem(name, f"of dialogue {key!r} has a {type(value).__name__} where text should be")
    text = value.decode("latin1") if isinstance(value, bytes) else str(value)
    try:
        return text.encode("latin1").decode("utf-8")
    except UnicodeError:
        return text


def rows_of(items: Items, name: str, order: Sequence[Any], lengths: Sequence[int], width: int) -> np.ndarray:
    """The rows of all dialogues in `order`, float32 [U, width]."""
    parts = []
    for key, length in zip(order, lengths, strict=True):
        rows = _numbers(items, name, key, _sized(items, name, key, length), width)
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            raise items.problem(name, f"of dialogue {key!r}: utterance {bad[0]} has NaN or infinity")
        parts.append(rows)
    return np.concatenate(parts)


def _numbers(items: Items, name: str, key: Any, value: Any, width: int) -> np.ndarray:
    """A dialogue's rows, float32 [T, width]."""
    try:
        with np.errstate(over="ignore"):
            rows = np.asarray(list(value), dtype=np.float32)
    except (TypeError, ValueError):
        raise items.problem(name, f"of dialogue {key!r} does not hold rows of {width} numbers") from None
    if rows.ndim != 2 or rows.shape[1] != width:
        raise items.problem(
            name, f"of dialogue {key!r} has the shape {list(rows.shape)}, not rows of {width}"
        )
    return rows


def _sized(items: Items, name: str, key: Any, length: int) -> Any:
    """A dialogue's value, checked that it has one entry for each utterance."""
    value = items[name][key]
    is_list = value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, list | tuple)
    if not is_list:
        raise items.problem(name, f"of dialogue {key!r} is not a list")
    if len(value) != length:
        entries = "1 entry" if len(value) == 1 else f"{len(value)} entries"
        raise items.problem(name, f"of dialogue {key!r} has {entries} for {counted(length, 'label')}")
    return value
