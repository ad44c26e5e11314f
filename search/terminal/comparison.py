"""Studies side by side on the terminal (``--compare``)."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from search.report.comparison import HEAD, NOTE, PAIRS_HEAD, StudyComparison, pair_rows, study_rows


def print_comparison(comparison: StudyComparison, console: Console) -> None:
    """Print the table of the studies, that of their pairs, and a note."""
    for head, rows, text_columns in (
        (HEAD, study_rows(comparison), 3),
        (PAIRS_HEAD, pair_rows(comparison), 1),
    ):
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for i, title in enumerate(head):
            is_remark = head is PAIRS_HEAD and i == len(head) - 1
            table.add_column(title, justify="left" if i < text_columns or is_remark else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    console.print(NOTE)
