"""The columns of a transcript by their usual names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from rigsl.errors import UserError
from rigsl.shell import pasteable
from rigsl.wording import listed

#: Meaning of a column -> its usual names, in lower case, without spaces and punctuation.
USUAL_NAMES = {
    "dialogue": (
        "dialogue", "dialogueid", "dialog", "dialogid", "diaid", "conversation", "conversationid", "convid",
        "conv", "session", "sessionid", "scene", "sceneid",
    ),
    "utterance": (
        "utteranceid", "uttid", "uttno", "utteranceindex", "uttidx", "utteranceidx", "turn", "turnid",
        "turnindex", "position",
    ),
    "text": ("text", "utterance", "transcript", "transcription", "sentence", "utterancetext", "message"),
    "speaker": ("speaker", "speakerid", "speakername", "speakers", "role", "participant"),
    "label": ("label", "emotion", "emotionlabel", "emo", "class"),
    "start": ("start", "starttime", "begin", "onset"),
    "end": ("end", "endtime", "offset", "stop"),
    "split": ("split", "partition", "subset"),
}  # fmt: skip
_SPLITS = {
    "train": ("train", "training", "trn", "tr"),
    "dev": ("dev", "devel", "development", "val", "valid", "validation"),
    "test": ("test", "testing", "tst", "te"),
}
#: Usual name of a split -> the split.
SPLIT_OF = {name: split for split, names in _SPLITS.items() for name in names}
#: A column of this name is the number of an utterance where another column holds the text.
_TEXT_OR_NUMBER = "utterance"


def normal(name: str) -> str:
    """A column's name in lower case, without spaces and punctuation: ``Dialogue_ID`` -> ``dialogueid``."""
    return re.sub(r"[\W_]+", "", name.lower())


def check_meanings(chosen: Iterable[str], wanted: Collection[str] = tuple(USUAL_NAMES)) -> None:
    """Check that these are meanings of columns.

    Raises:
        UserError: one is not.
    """
    for meaning in chosen:
        if meaning not in wanted:
            raise UserError(f"column {meaning!r}: is not one of {', '.join(wanted)}")


def check_times(names: Mapping[str, str], source: Path | str) -> None:
    """Check that a table has columns for start and end, or for neither.

    Raises:
        UserError: it has one of them only.
    """
    if ("start" in names) != ("end" in names):
        present, absent = ("start", "end") if "start" in names else ("end", "start")
        raise UserError(
            f"{source}: has the column {names[present]} but none for the {absent}; give both or neither"
        )


def find_columns(
    header: Sequence[str],
    source: Path | str,
    *,
    chosen: Mapping[str, str],
    wanted: Collection[str] = tuple(USUAL_NAMES),
    required: Sequence[str] = (),
) -> dict[str, str]:
    """Meaning -> the name of its column, for every meaning that has a column.

    Args:
        header: the names of all columns.
        source: the table, for messages.
        chosen: meaning -> column, where the user says it.
        wanted: the meanings that are looked for.
        required: those that must have a column.

    Raises:
        UserError: a required or chosen column is missing, or several columns could be meant.
    """
    named = [name for name in header if name]
    if repeated := [name for name in named if named.count(name) > 1]:
        raise UserError(f"{source}: two columns have the same name, {repeated[0]!r}; rename one")
    found = {meaning: _chosen(header, name, meaning, source) for meaning, name in chosen.items()}
    usual = {
        meaning: _usual(header, meaning, set(found.values())) for meaning in wanted if meaning not in found
    }
    if len(usual.get("text", ())) != 1:  # the text is elsewhere, or nobody looks for it
        number = [name for name in header if normal(name) == _TEXT_OR_NUMBER and name not in found.values()]
        usual["text"] = [name for name in usual.get("text", ()) if name not in number]
        if "utterance" in usual:
            usual["utterance"] += number
    for meaning, names in usual.items():
        if len(names) > 1:
            raise UserError(
                f"{source}: the columns {listed(names)} could all be the {meaning}; choose one with "
                f"{pasteable('--column', f'{meaning}={names[0]}')}"
            )
        if names and meaning not in found:
            found[meaning] = names[0]
    for meaning in required:
        if meaning not in found:
            raise UserError(
                f"{source}: lacks the column {meaning}; its columns are {','.join(header)[:80]!r}, so name "
                f"it with --column {meaning}=NAME"
            )
    return found


def _usual(header: Sequence[str], meaning: str, taken: Collection[str]) -> list[str]:
    return [name for name in header if normal(name) in USUAL_NAMES[meaning] and name not in taken]


def _chosen(header: Sequence[str], name: str, meaning: str, source: Path | str) -> str:
    if name in header:
        return name
    others = [other for other in header if normal(other) == normal(name)]
    if len(others) != 1:
        raise UserError(
            f"{source}: has no column {name!r} for the {meaning}; its columns are {','.join(header)[:80]!r}"
        )
    return others[0]
