"""Features that a user brings: a vector for each of some utterances, and how the utterances are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from rigsl.data.own.reading.cells import as_name
from rigsl.data.own.utterances import Utterances
from rigsl.errors import UserError
from rigsl.wording import counted, listed

_SHOWN = 3  # names in a message


class By(Enum):
    """What names an utterance: one key of `FeatureRows`."""

    UTTERANCE = "dialogue and utterance"  #: (dialogue, utterance), as in the transcript
    PLACE = "dialogue and position"  #: (dialogue, position from 0)
    CLIP = "clip"  #: a file name: DIALOGUE_UTTERANCE, diaDIALOGUE_uttUTTERANCE or UTTERANCE
    ROW = "row"  #: the number of its row in all tables together, from 0


@dataclass(frozen=True)
class FeatureRows:
    """n vectors of width D.

    Raises:
        UserError: there are none, or two have the same key.
    """

    source: Path | str  #: the file, or the name of the argument
    values: np.ndarray  #: float [n, D]; NaN: not known
    by: By
    keys: Sequence[Hashable]
    columns: tuple[str, ...] = ()  #: names of the D numbers, where they have any
    hashes: Mapping[str, str] | None = None  #: file name -> SHA-256

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise UserError(
                f"{self.source}: holds numbers of the shape {list(self.values.shape)}, not [utterances, "
                "width]; give one vector for each utterance"
            )
        if len(self.keys) != len(self.values):
            names, vectors = counted(len(self.keys), "name"), counted(len(self.values), "vector")
            raise UserError(f"{self.source}: has {names} for {vectors}; give one for each")
        seen: set[Hashable] = set()
        for number, key in enumerate(self.keys, 1):
            if key in seen:
                raise UserError(
                    f"{self.source}, row {number}: {in_words(key)} comes twice; keep one row for each "
                    "utterance"
                )
            seen.add(key)

    @property
    def width(self) -> int:
        """D."""
        return int(self.values.shape[1])


def pair(dialogue: str, utterance: str) -> tuple[str, str]:
    """The key of an utterance by the texts of two cells."""
    return as_name(dialogue), as_name(utterance)


def in_words(key: Hashable) -> str:
    """A key for messages."""
    if isinstance(key, tuple):
        return f"utterance {key[1]!r} of dialogue {key[0]!r}"
    return f"row {key + 1}" if isinstance(key, int) else repr(key)


def joined(features: FeatureRows, utterances: Utterances) -> tuple[np.ndarray, int]:
    """The vector of every utterance of a corpus, float64 [U, D], and the number of vectors of no utterance.

    A number is NaN where the features do not have it, or where it is infinite.

    Raises:
        UserError: no name is one of the corpus, or there are not as many rows as utterances.
    """
    if features.by is By.ROW and len(features.values) != len(utterances.rows):
        ours, theirs = counted(len(utterances.rows), "utterance"), counted(len(features.values), "row")
        raise UserError(f"{features.source}: has {theirs} for {ours}; give one for each, in the same order")
    known = _row_of_key(features.by, utterances)
    row = np.array([known.get(key, -1) for key in features.keys], dtype=np.int64)
    if (row < 0).all():
        here, there = in_words(features.keys[0]), in_words(next(iter(known)))
        raise UserError(
            f"{features.source}: none of its {counted(len(row), 'name')} is in the transcript; the first one "
            f"is {here} here and {there} there, so write the same names"
        )
    _check_once(features, row, utterances)
    values = np.full((len(utterances.rows), features.width), np.nan)
    values[row[row >= 0]] = features.values[row >= 0]
    values[~np.isfinite(values)] = np.nan
    return values, int((row < 0).sum())


def _check_once(features: FeatureRows, row: np.ndarray, utterances: Utterances) -> None:
    """Check that no two vectors are of one utterance; `row`: that of each vector, -1 without one."""
    order = np.argsort(row, kind="stable")
    twice = np.flatnonzero((np.diff(row[order]) == 0) & (row[order][1:] >= 0))
    if twice.size:
        first, second = order[twice[0]], order[twice[0] + 1]
        rows = utterances.rows.iloc[int(row[first])]
        raise UserError(
            f"{features.source}: {in_words(features.keys[second])} and {in_words(features.keys[first])} are "
            "both "
            f"{in_words((rows['dialogue'], rows['utterance']))}; keep one"
        )


def _row_of_key(by: By, utterances: Utterances) -> dict[Hashable, int]:
    """Key -> row of the corpus."""
    rows = utterances.rows
    pairs = list(zip(rows["dialogue"], rows["utterance"], strict=True))
    if by is By.UTTERANCE:
        return {key: row for row, key in enumerate(pairs)}
    if by is By.PLACE:
        positions = rows.groupby("dialogue", sort=False).cumcount()
        return {key: row for row, key in enumerate(zip(rows["dialogue"], positions, strict=True))}
    if by is By.ROW:
        return {int(given): row for row, given in enumerate(rows["given"])}
    names: list[tuple[Hashable, int]] = []
    for row, (dialogue, utterance) in enumerate(pairs):
        clips = {f"{dialogue}_{utterance}", f"dia{dialogue}_utt{utterance}", utterance}
        names += [(clip, row) for clip in clips]
    count = Counter(name for name, _ in names)
    return {name: row for name, row in names if count[name] == 1}  # others could mean several utterances


def missing_refused(
    name: str, features: FeatureRows, missing: np.ndarray, utterances: Utterances
) -> UserError:
    """The exception for features that some utterances lack; `missing`: their rows."""
    rows = utterances.rows.iloc[missing[:_SHOWN]]
    shown = [
        in_words((dialogue, utterance)) + f" ({utterances.place(int(at))})"
        for at, dialogue, utterance in zip(missing, rows["dialogue"], rows["utterance"], strict=False)
    ]
    rest = len(missing) - len(shown)
    names = listed([*shown, f"{rest} more"]) if rest else listed(shown)
    return UserError(
        f"{features.source}: lacks the {name} features, or some numbers of them, of {names}; add them, or "
        "fill them with the mean by --missing mean"
    )
