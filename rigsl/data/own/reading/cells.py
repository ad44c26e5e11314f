"""Values of a table as text, so that a file of any format and a data frame give the same cells."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

_MISSING = ("nan", "<NA>", "NaT")  # of pandas and NumPy, as they print themselves
_WHOLE = re.compile(r"(-?\d+)\.0+")


def as_text(value: Any) -> str:
    """A value as the text of a cell; what is missing is the empty text.

    A list of one member is that member, as in ``"speakers": ["Ross"]``; other lists are JSON.
    """
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        if len(value) == 1:
            return as_text(value[0])
        return json.dumps([as_text(item) for item in value], ensure_ascii=False) if value else ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if value is None or str(value) in _MISSING:
        return ""
    if isinstance(value, float | np.floating) and math.isfinite(value) and float(value).is_integer():
        return str(int(value))
    return str(value)


def whole_characters(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON may have, and no file in UTF-8."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_name(text: str) -> str:
    """The text of a cell that names something: without spaces around it, and ``3.0`` as ``3``."""
    text = " ".join(text.split())
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text
