"""Where a corpus of one's own comes from."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rigsl.data.own.reading.csv_file import read_text
from rigsl.data.own.utterances import Utterances
from rigsl.errors import UserError
from rigsl.redaction import redacted

_VERSIONS = ("numpy", "pandas", "scikit-learn")
_MOST_CHARACTERS = 200_000


@dataclass(frozen=True)
class Origin:
    """What the makers of a corpus say of it."""

    command: str  #: that built it
    files: Mapping[str, str] = field(default_factory=dict)  #: name of a file of utterances -> SHA-256
    licence: str = ""


def read_licence(path: Path) -> str:
    """The text of a licence.

    Raises:
        UserError: it cannot be read, is empty, or is no licence by its length.
    """
    text = read_text(path).strip()
    if not text:
        raise UserError(f"{path}: is empty; give the text of the corpus' licence")
    if len(text) > _MOST_CHARACTERS:
        raise UserError(f"{path}: has {len(text)} characters, too many for a licence; give its text alone")
    return text


def describe_origin(origin: Origin, utterances: Utterances) -> dict[str, Any]:
    """The provenance of a corpus, JSON-able, without its features."""
    columns = {
        str(_name(table.source)): names
        for table, names in zip(utterances.tables, utterances.columns, strict=True)
    }
    return {
        "source": ", ".join(columns),
        "command": redacted(origin.command),
        "licence": origin.licence or "not given",
        "files_sha256": dict(origin.files),
        "columns": columns,
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
    }


def _name(source: Path | str) -> str:
    return source.name if isinstance(source, Path) else source
