"""How the trials ended, and why; proposals that were never run."""

from __future__ import annotations

import re
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import plot_timeline

from search.record import record
from search.record.states import STATES as STATE_NAMES
from search.record.states import state_name
from search.report.charts import chart
from search.report.data import Material
from search.report.html import drawn, heading, section, table
from search.report.style import STATES
from search.report.trial_views import as_ended

#: So many trials are listed by number.
LISTED = 12


def trials(m: Material) -> str:
    """The section."""
    ended = as_ended(m.study).get_trials(deepcopy=False)
    counts = [(name, str(count)) for name, count in record.counts(m.study).items()]
    few = "" if ended else "No trial has ended."
    height = min(620, 150 + 9 * len(ended))
    return section(
        "trials",
        "Trials",
        table(("state", "trials"), counts),
        _reasons("Why trials ended early", [(state_name(trial), trial) for trial in ended], record.REASON),
        _reasons("Proposals that were not run", not_run(m.study), record.NOT_RUN),
        heading("Timeline"),
        drawn(lambda: _timeline(m, height), few),
    )


def not_run(study: optuna.Study) -> list[tuple[str, FrozenTrial]]:
    """Proposals that were never handed to a worker."""
    return [
        ("not run", trial) for trial in study.get_trials(deepcopy=False) if record.NOT_RUN in trial.user_attrs
    ]


def grouped(reasons: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, list[int]]]:
    """State, reason and number of trials -> those that differ in numbers only together, the most first.

    A reason that is the same for all of a group is given as it is; where they differ, with "…" for a number.
    """
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for state, reason, number in reasons:
        groups.setdefault((state, re.sub(r"\d[\d.]*", "\u2026", reason)), []).append((reason, number))
    found = []
    for (state, shape), members in groups.items():
        texts = {reason for reason, _ in members}
        found.append(
            (state, texts.pop() if len(texts) == 1 else shape, sorted(number for _, number in members))
        )
    return sorted(found, key=lambda group: (group[0], -len(group[2])))


def _reasons(title: str, of: Sequence[tuple[str, FrozenTrial]], attribute: str) -> str:
    given = [
        (state, str(trial.user_attrs[attribute]), trial.number)
        for state, trial in of
        if attribute in trial.user_attrs
    ]
    rows = []
    for state, reason, numbers in grouped(given):
        more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
        rows.append((state, reason, str(len(numbers)), ", ".join(map(str, numbers[:LISTED])) + more))
    if not rows:
        return ""
    return heading(title) + table(("state", "reason", "trials", "which"), rows, words=(0, 1, 3))


def _timeline(m: Material, height: int) -> str:
    figure = plot_timeline(as_ended(m.study))
    for trace in figure.data:
        name = STATE_NAMES[TrialState[trace.name]]
        trace.update(name=name, marker={"color": STATES[name][0]}, width=0.8)
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title_text="time of day")
    trials = as_ended(m.study).get_trials(deepcopy=False)
    figure.update_yaxes(title_text="trial", dtick=1 if len(trials) <= 10 else None)
    return chart(figure, "when each trial ran", height=height)
