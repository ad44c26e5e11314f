"""How the trials ended and why, proposals that were never run, and a timeline."""

from __future__ import annotations

import re
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import plot_timeline

from search.record import record
from search.record.states import STATES, state_name
from search.report.charts import chart
from search.report.data import StudyData
from search.report.html import drawn, heading, table
from search.report.style import STATE_STYLES
from search.report.trial_views import ended_view

#: Trials that are listed by number for each reason.
LISTED = 12


def content(data: StudyData) -> str:
    """The section."""
    ended = ended_view(data.study).get_trials(deepcopy=False)
    counts = [(state, str(count)) for state, count in record.counts(data.study).items()]
    missing = "" if ended else "No trial has ended."
    return "".join(
        [
            table(("state", "trials"), counts),
            _reasons(
                "Why trials ended early", [(state_name(trial), trial) for trial in ended], record.REASON
            ),
            _reasons("Proposals that were not run", not_run(data.study), record.NOT_RUN),
            heading("Timeline"),
            drawn(lambda: _timeline(data), missing),
        ]
    )


def not_run(study: optuna.Study) -> list[tuple[str, FrozenTrial]]:
    """Proposals that were never handed to a worker, with the word for their state."""
    return [
        ("not run", trial) for trial in study.get_trials(deepcopy=False) if record.NOT_RUN in trial.user_attrs
    ]


def grouped(reasons: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, list[int]]]:
    """Group (state, reason, trial number) whose reasons only differ in numbers; the largest groups first.

    A reason that all trials of a group share is given literally; otherwise with "…" for every number.
    """
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for state, reason, number in reasons:
        pattern = re.sub(r"\d[\d.]*", "\u2026", reason)
        groups.setdefault((state, pattern), []).append((reason, number))
    rows = []
    for (state, pattern), members in groups.items():
        texts = {reason for reason, _ in members}
        numbers = sorted(number for _, number in members)
        rows.append((state, texts.pop() if len(texts) == 1 else pattern, numbers))
    return sorted(rows, key=lambda row: (row[0], -len(row[2])))


def _reasons(title: str, trials: Sequence[tuple[str, FrozenTrial]], attribute: str) -> str:
    """A table of the reasons in a user attribute of the trials; empty if no trial has one."""
    reasons = [
        (state, str(trial.user_attrs[attribute]), trial.number)
        for state, trial in trials
        if attribute in trial.user_attrs
    ]
    rows = []
    for state, reason, numbers in grouped(reasons):
        more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
        rows.append((state, reason, str(len(numbers)), ", ".join(map(str, numbers[:LISTED])) + more))
    if not rows:
        return ""
    return heading(title) + table(("state", "reason", "trials", "which"), rows, words=(0, 1, 3))


def _timeline(data: StudyData) -> str:
    view = ended_view(data.study)
    count = len(view.get_trials(deepcopy=False))
    figure = plot_timeline(view)
    for trace in figure.data:
        state = STATES[TrialState[trace.name]]
        trace.update(name=state, marker={"color": STATE_STYLES[state][0]}, width=0.8)
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title_text="time of day")
    figure.update_yaxes(title_text="trial", dtick=1 if count <= 10 else None)
    return chart(figure, "when each trial ran", height=min(620, 150 + 9 * count))
