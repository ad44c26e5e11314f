"""What all pictures of Matplotlib have in common."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


def drawing(**settings: Any) -> AbstractContextManager[None]:
    """Draw in this block with these settings, by their names in Matplotlib with ``__`` for a dot.

    Names of classes and dialogues are written as they are: a ``$`` in them begins no formula, which
    Matplotlib could refuse to read when all else is done.
    """
    import matplotlib as mpl

    named = {name.replace("__", "."): value for name, value in settings.items()}
    return mpl.rc_context({"text.parse_math": False} | named)
