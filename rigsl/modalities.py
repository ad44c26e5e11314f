"""Modalities: four that have a letter, and any that a corpus names.

Inside, a modality is its key: the letter of one of `MODALITIES`, else its name. In texts for people it is its
name. A selection of modalities is written ``lav`` where letters are enough, else ``text,face,pulse``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from rigsl.errors import UserError

#: Letter -> name, in the order of a dialogue's nodes: all l, then all a, ... The others come after them.
MODALITIES = {"l": "text", "a": "audio", "v": "visual", "d": "delivery"}
#: The modality whose features are several vectors for an utterance.
TEXT = "l"
#: Those whose features can be made from a transcript.
FROM_TRANSCRIPT = ("l", "d")

_KEYS = {name: letter for letter, name in MODALITIES.items()}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def name_refused(name: str) -> str:
    """Why a modality cannot have this name, which is not one of `MODALITIES`; empty: it can."""
    if not _NAME.fullmatch(name):
        return "is not a name of at most 64 letters, digits, '_' and '-' that begins with a letter"
    if set(name.lower()) <= MODALITIES.keys():
        return "is made of the letters that stand for " + ", ".join(MODALITIES.values())
    return ""


def modality_key(name: str) -> str:
    """The key of a modality, from its letter or its name: ``audio`` -> ``a``, ``face`` -> ``face``.

    Raises:
        UserError: it is neither a letter nor a name that a modality can have.
    """
    key = name if name in MODALITIES else _KEYS.get(name.lower(), name)
    if key not in MODALITIES and (reason := name_refused(key)):
        raise UserError(f"'{name}' is not a modality: it {reason}")
    return key


def modality_name(key: str) -> str:
    """The name of the modality with this key: ``a`` -> ``audio``, ``face`` -> ``face``."""
    return MODALITIES.get(key, key)


def modality_names(keys: Iterable[str]) -> list[str]:
    """The names of modalities, in the order of their nodes."""
    return [modality_name(key) for key in ordered(keys)]


def module_name(key: str) -> str:
    """The name of a modality's part of a model, which no attribute of an ``nn.ModuleDict`` can have."""
    return key if key in MODALITIES else f"name_{key}"


def ordered(keys: Iterable[str]) -> tuple[str, ...]:
    """Keys in the order of a dialogue's nodes: the letters, then the other modalities by name."""
    letters = list(MODALITIES)
    return tuple(
        sorted(keys, key=lambda key: (letters.index(key) if key in MODALITIES else len(letters), key))
    )


def modals_text(keys: Iterable[str]) -> str:
    """A selection as it is stored: ``lav``, or ``text,face,pulse``; `read_modals` reads it."""
    keys = ordered(keys)
    return "".join(keys) if MODALITIES.keys() >= set(keys) else ",".join(map(modality_name, keys))


@lru_cache
def read_modals(text: str) -> tuple[str, ...]:
    """The keys of a selection, in the order of the nodes.

    Args:
        text: letters, as ``lav``, or names and letters between commas, as ``text,face`` or ``la,pulse``.

    Raises:
        UserError: a modality is named twice, none is, or one cannot have its name.
    """
    keys: list[str] = []
    for part in map(str.strip, text.split(",")):
        keys += part if part and set(part) <= MODALITIES.keys() else [modality_key(part)] if part else []
    if not keys or len(set(keys)) < len(keys):
        letters = ", ".join(f"{letter} ({name})" for letter, name in MODALITIES.items())
        raise UserError(
            f"'{text}' is not a non-empty subset of the modalities, each once: letters out of {letters}, or "
            "names between commas"
        )
    return ordered(keys)


def check_modals(text: str, there: Collection[str], corpus: str) -> None:
    """Check that a corpus has all modalities of a selection.

    Args:
        text: the selection; see `read_modals`.
        there: the keys of the modalities that the corpus has.
        corpus: which one it is, for the sentence.

    Raises:
        UserError: it lacks one.
    """
    if missing := [key for key in read_modals(text) if key not in there]:
        raise UserError(
            f"modals = '{text}': {corpus} has no modality '{missing[0]}'; choose from '{modals_text(there)}'"
        )
