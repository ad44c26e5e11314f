"""Utterances in a JSON file, however they are nested: in dialogues, scenes, episodes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from rigsl.data.own.columns import SPLIT_OF, USUAL_NAMES, normal
from rigsl.data.own.reading.cells import whole_characters
from rigsl.data.own.reading.csv_file import read_text
from rigsl.errors import UserError, first_line

#: The column with the place of an utterance's list in the file, such as ``episodes/0/scenes/2/utterances``.
PLACE = "place in the file"
_TEXT = USUAL_NAMES["text"]


def read_records(
    path: Path, encoding: str | None = None, *, lines: bool, text: str | None = None
) -> list[dict[str, Any]]:
    """The utterances of a JSON file, or of one with a JSON value in every line.

    An utterance is an object with a text, or one that holds no other objects. It has the keys of the objects
    around it, too, and its `PLACE`.

    Args:
        path: of the file.
        encoding: of a file without a byte-order mark; None: UTF-8.
        lines: whether every line is a value.
        text: the key of an utterance's text, if it is not a usual one.

    Raises:
        UserError: it cannot be read, or is no JSON.
    """
    content = read_text(path, encoding)
    names = _TEXT if text is None else (normal(text),)
    try:
        if not lines:
            return _those_with_text(_by_split(_parsed(content, path), names), names)
        records: list[dict[str, Any]] = []
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                value = _parsed(line, f"{path}, line {number}")
                place = () if _is_utterance(value, names) else (f"line {number}",)
                records += _utterances(value, {}, place, names)
        return _those_with_text(records, names)
    except RecursionError:
        raise UserError(
            f"{path}: is nested too deeply for a transcript; write a list of utterances"
        ) from None


def _by_split(value: Any, names: Collection[str]) -> Iterator[dict[str, Any]]:
    """The utterances of a whole file, with their split where the keys of the file are splits."""
    inner = [key for key, item in value.items() if _holds(item)] if isinstance(value, dict) else []
    if not inner or any(key.lower() not in SPLIT_OF for key in inner) or _is_utterance(value, names):
        yield from _utterances(value, {}, (), names)
        return
    for key in inner:
        yield from _utterances(value[key], {"split": SPLIT_OF[key.lower()]}, (key,), names)


def _those_with_text(records: Iterable[dict[str, Any]], names: Collection[str]) -> list[dict[str, Any]]:
    """The records of the places that hold a text; others describe speakers, or the file."""
    records = list(records)
    with_text = {record[PLACE] for record in records if any(normal(key) in names for key in record)}
    return [record for record in records if record[PLACE] in with_text] if with_text else records


def _parsed(content: str, source: Path | str) -> Any:
    try:
        return json.loads(content, object_hook=_storable)
    except (ValueError, RecursionError) as error:
        reason = first_line(error, length=200)
        raise UserError(f"{source}: is not JSON ({reason}); write it again") from None


def _storable(members: dict[str, Any]) -> dict[str, Any]:
    """An object of JSON with whole characters in its texts and lists of texts."""
    return {whole_characters(key): _whole(item) for key, item in members.items()}


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return whole_characters(value) if isinstance(value, str) else value


def _utterances(
    value: Any, around: dict[str, Any], place: tuple[str, ...], names: Collection[str]
) -> Iterator[dict[str, Any]]:
    """The utterances in `value`, with the keys of the objects `around` it."""
    if _is_utterance(value, names):
        yield around | value | {PLACE: "/".join(place)}
        return
    items = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    if isinstance(value, dict):
        around = around | {key: item for key, item in value.items() if not _holds(item)}
    for key, item in items:
        if _holds(item):
            inner = place if _is_utterance(item, names) else (*place, str(key))
            yield from _utterances(item, around, inner, names)


def _holds(value: Any) -> bool:
    """Whether objects are in a value."""
    if isinstance(value, dict):
        return True
    return isinstance(value, list) and any(_holds(item) for item in value)


def _is_utterance(value: Any, names: Collection[str]) -> bool:
    if not isinstance(value, dict):
        return False
    texts = [item for key, item in value.items() if normal(str(key)) in names]
    return any(isinstance(text, str) for text in texts) or not any(_holds(item) for item in value.values())
