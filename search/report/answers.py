"""The answers of a study (configuration, taught, average) as rows of tables, on pages and on the terminal."""

from __future__ import annotations

from rigsl.wording import DASH, p_value, points
from search.confirm.answers import Answer
from search.report.format import span, spread

#: Columns of the numbers of an answer, under which `answer_cells` puts them.
HEAD = (
    "weighted F1, test", "95 % interval", "baseline in the same form", "difference", "its 95 % interval",
    "paired bootstrap", "parameters", "ms an utterance",
)  # fmt: skip
NOTE = (
    "Weighted F1: mean ± standard deviation over the trainings; an average is a single prediction. Baseline "
    "in the same form: its configuration taught by the same teacher, or the average of its own trainings. "
    "Differences in percentage points, with the paired bootstrap over dialogues and trainings. Milliseconds: "
    "on the machine and with the threads of a trial."
)


def answer_cells(answer: Answer) -> tuple[str, ...]:
    """The numbers of an answer, under HEAD."""
    bootstrap, milliseconds = answer.bootstrap, answer.milliseconds
    return (
        spread(answer.winner.weighted_f1),
        span(answer.winner.interval),
        spread(None if answer.baseline is None else answer.baseline.weighted_f1),
        points(answer.difference),
        span(None if bootstrap is None else bootstrap.interval, signed=True),
        DASH if bootstrap is None else p_value(bootstrap.p),
        DASH if answer.parameters is None else f"{answer.parameters:,}",
        DASH if milliseconds is None else f"{milliseconds:.2f}",
    )


def side_title(answer: Answer, side: str) -> str:
    """The "winner" or the "baseline" in the form of this answer, other than the configuration."""
    return answer.name if side == "winner" else f"baseline, {answer.name}"
