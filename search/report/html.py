"""The pieces of HTML that the pages are made of; every text that goes in is escaped here."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Sequence
from typing import Any

#: Cells with more characters may wrap.
WRAP_FROM = 24


def text(value: Any) -> str:
    """The value, escaped; a number and its percent sign stay on one line."""
    return html.escape(str(value)).replace(" %", "&nbsp;%")


def paragraph(value: str, css_class: str = "") -> str:
    """A paragraph."""
    return f'<p class="{css_class}">{text(value)}</p>' if css_class else f"<p>{text(value)}</p>"


def note(value: str) -> str:
    """A remark on what is above or below it; nothing if it is empty."""
    return paragraph(value, "note") if value else ""


def code(value: str) -> str:
    """Lines to copy."""
    return f"<pre>{html.escape(value)}</pre>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: Collection[int] = (0,),
    marked: int | None = None,
) -> str:
    """A table that scrolls by itself if it is wider than the page; nothing if it has no rows.

    Args:
        head: titles of the columns.
        rows: their cells.
        words: columns of words; all others are numbers, aligned to the right.
        marked: the row that is highlighted.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        classes = [
            ' class="n"' if i not in words else ' class="w"' if len(cell) > WRAP_FROM else ""
            for i, cell in enumerate(row)
        ]
        return "".join(
            f"<{tag}{css_class}>{text(cell)}</{tag}>" for css_class, cell in zip(classes, row, strict=True)
        )

    if not rows:
        return ""
    top = f"<thead><tr>{cells('th', head)}</tr></thead>" if any(head) else ""
    body = "".join(
        f"<tr{' class=marked' if i == marked else ''}>{cells('td', row)}</tr>" for i, row in enumerate(rows)
    )
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values as a definition list, which wraps on a narrow page."""
    inner = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows)
    return f"<dl>{inner}</dl>"


def section(anchor: str, title: str, *parts: str) -> str:
    """A section that links can point to."""
    return f'<section id="{anchor}"><h2>{text(title)}</h2>{"".join(parts)}</section>'


def heading(title: str) -> str:
    """A heading inside a section."""
    return f"<h3>{text(title)}</h3>"


def folded(title: str, inner: str) -> str:
    """Content that a click on the title shows; nothing if it is empty."""
    return f"<details><summary>{text(title)}</summary>{inner}</details>" if inner else ""


def drawn(draw: Callable[[], str], missing: str = "") -> str:
    """The result of `draw`; instead, the sentence `missing` if that is not empty, or why drawing failed."""
    if missing:
        return note(missing)
    try:
        return draw()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        return note(f"Not drawn: {error}")
