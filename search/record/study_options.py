"""``study.toml`` of a run folder: the options with which a study was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rigsl.config import read_toml
from rigsl.errors import UserError
from search.run_folder import STUDY

#: Keys that every version has written -> their type, and in words.
_REQUIRED: dict[str, tuple[type, str]] = {
    "study": (str, "a text"),
    "dataset": (str, "a text"),
    "features": (str, "a text"),
    "sampler": (str, "a text"),
    "scheduler": (str, "a text"),
    "seed": (int, "a whole number"),
    "epochs": (int, "a whole number"),
    "tracking_uri": (str, "a text"),
    "corpus": (str, "a text"),
    "budget": (dict, "a table"),
}
#: Keys that are not always there.
_OPTIONAL: dict[str, tuple[type, str]] = {
    "record": (str, "a text"),
    "storage": (str, "a text"),
    "start_from": (str, "a text"),
    "seed_derivation": (str, "a text"),
    "validation_folds": (int, "a whole number"),
    "force": (bool, "true or false"),
    "final": (dict, "a table"),
}


def read_study_options(folder: Path, *, whole: bool = False) -> dict[str, Any]:
    """The content of ``study.toml`` in the run folder `folder`.

    Args:
        folder: a run folder.
        whole: whether all of it must be understood: for a resume, which writes it again, and for comparable
            scores. A later version may have options that this one would leave out without a word.

    Raises:
        UserError: the file is missing, is not TOML, or lacks a key; the sentence names file and key. Or
            `whole`, and it has an unknown key.
    """
    path = folder / STUDY
    content = read_toml(path)
    for name, (kind, words) in (_REQUIRED | _OPTIONAL).items():
        if name not in content:
            if name in _REQUIRED:
                raise UserError(f"{path}: {name} is missing; restore the file from a copy")
        elif type(content[name]) is not kind:
            value = repr(content[name])[:100]
            raise UserError(f"{path}: {name} = {value} is not {words}; restore the file from a copy")
    if whole and (unknown := set(content) - set(_REQUIRED | _OPTIONAL)):
        raise UserError(
            f"{path}: {min(unknown)} is unknown to this version; take the version with which the study was "
            "run last"
        )
    return content
