"""Something that happens once, at a certain moment of a study."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def before(patch: pytest.MonkeyPatch, owner: object, name: str, act: Callable[[], object]) -> None:
    """Let `act` be called once, before the first call of the function `name` of a module or class."""
    original, acted = getattr(owner, name), []

    def called(*arguments: object, **options: object) -> object:
        if not acted:
            acted.append(True)
            act()
        return original(*arguments, **options)

    patch.setattr(owner, name, called)
