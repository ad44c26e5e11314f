"""Studies side by side on the terminal (``--compare``)."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from search.confirm.answers import several_answers
from search.report.comparison import (
    ANSWERS_NOTE,
    HEAD,
    PAIRS_HEAD,
    WORDS,
    StudyComparison,
    note_of,
    pair_rows,
    study_rows,
)
from search.terminal.answers import score_lines


def print_comparison(comparison: StudyComparison, console: Console) -> None:
    """Print the tables of the studies and of their pairs, the answers of each study, and notes."""
    for head, rows, text_columns in (
        (HEAD, study_rows(comparison), WORDS),
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
    console.print(note_of(comparison))
    _print_answers(comparison, console)


def _print_answers(comparison: StudyComparison, console: Console) -> None:
    """Print configuration, taught and average of every study that has them, and what they are."""
    answers = {study.label: several_answers(study.data.final.test) for study in comparison.studies}
    for label, of_study in answers.items():
        if of_study:
            console.print(f"\n{label}, on test:")
            for line in score_lines(of_study):
                console.print(f"  {line}")
    if any(answers.values()):
        console.print(f"\n{ANSWERS_NOTE}")
