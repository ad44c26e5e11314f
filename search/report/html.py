"""The few pieces of HTML that the pages are made of; every text that goes in is escaped here."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Sequence
from typing import Any

#: A cell of so many characters may be broken into lines.
LONG = 24


def text(value: Any) -> str:
    """Escaped; a number and its percent sign stay on one line."""
    return html.escape(str(value)).replace(" %", "&nbsp;%")


def paragraph(value: str, kind: str = "") -> str:
    """A paragraph."""
    return f'<p class="{kind}">{text(value)}</p>' if kind else f"<p>{text(value)}</p>"


def note(value: str) -> str:
    """What a reader should know about what stands above or below."""
    return paragraph(value, "note") if value else ""


def code(value: str) -> str:
    """Something to copy."""
    return f"<pre>{html.escape(value)}</pre>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: Collection[int] = (0,),
    marked: int | None = None,
) -> str:
    """A table that scrolls inside itself.

    Args:
        head: of the columns.
        rows: their cells.
        words: columns that hold words; the others hold numbers, which are aligned.
        marked: the row that stands out.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = [
            ' class="n"' if i not in words else ' class="w"' if len(cell) > LONG else ""
            for i, cell in enumerate(row)
        ]
        return "".join(f"<{tag}{kind}>{text(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    if not rows:
        return ""
    top = f"<thead><tr>{cells('th', head)}</tr></thead>" if any(head) else ""
    body = "".join(
        f"<tr{' class=marked' if i == marked else ''}>{cells('td', row)}</tr>" for i, row in enumerate(rows)
    )
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Names and what they stand for, as a list that wraps on a narrow page."""
    inner = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows)
    return f"<dl>{inner}</dl>"


def section(name: str, title: str, *parts: str) -> str:
    """A section with an anchor."""
    return f'<section id="{name}"><h2>{text(title)}</h2>{"".join(parts)}</section>'


def heading(title: str) -> str:
    """A title inside a section."""
    return f"<h3>{text(title)}</h3>"


def folded(title: str, inner: str) -> str:
    """What is shown on a click."""
    return f"<details><summary>{text(title)}</summary>{inner}</details>" if inner else ""


def drawn(draw: Callable[[], str], lacking: str = "") -> str:
    """What `draw` returns; the sentence `lacking` where that is not empty, or why it cannot be drawn."""
    if lacking:
        return note(lacking)
    try:
        return draw()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        return note(f"Not drawn: {error}")
