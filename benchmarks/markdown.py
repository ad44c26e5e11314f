"""Tables in Markdown, for pages of results."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column aligned left, the others right."""
    lines = [" | ".join(("", *row, "")).strip() for row in (head, *rows)]
    return "\n".join([lines[0], "|---|" + "--:|" * (len(head) - 1), *lines[1:]])
