"""Studies side by side on the terminal (``--compare``)."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from search.report.comparison import HEAD, NOTE, PAIRS_HEAD, Comparison, pair_rows, study_rows


def print_comparison(found: Comparison, console: Console) -> None:
    """Both tables, and what must be known of them."""
    for head, rows, words in ((HEAD, study_rows(found), 3), (PAIRS_HEAD, pair_rows(found), 1)):
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for i, title in enumerate(head):
            last = head is PAIRS_HEAD and i == len(head) - 1
            table.add_column(title, justify="left" if i < words or last else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    console.print(NOTE)
