"""Registries that must name the same things: a half-registered entry fails at import, with one sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class RegistrationError(RuntimeError):
    """An entry stands in one table and is missing from another one that must know it too."""


def require_same_names(kind: str, tables: Mapping[str, Collection[str]]) -> None:
    """Check that several tables have entries of the same names.

    Args:
        kind: what is registered, such as "backbone".
        tables: where a table is, such as "rigsl.config.BACKBONES" -> the names in it.

    Raises:
        RegistrationError: a name is missing in a table; the sentence says which name and which table.
    """
    for name in dict.fromkeys(name for names in tables.values() for name in names):
        missing = [table for table, names in tables.items() if name not in names]
        if missing:
            present = next(table for table, names in tables.items() if name in names)
            raise RegistrationError(
                f"the {kind} '{name}' is registered in {present} but not in {' and '.join(missing)}; "
                "add it there, too"
            )
