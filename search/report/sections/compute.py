"""What the search used: time, cores, GPUs, and how busy they were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from rigsl.wording import DASH, counted
from search.record import record
from search.report.charts import chart
from search.report.data import Material
from search.report.html import drawn, heading, pairs, section
from search.report.style import BLUE, GREEN, ORANGE, PURPLE, SOFT
from search.space.budget import minutes_in_words
from search.tracking.system_metrics import PREFIX, Line, read_system

#: Most points of a line.
POINTS = 400
_CPU, _MEMORY = "cpu_utilization_percentage", "system_memory_usage_percentage"
_COLOURS = (ORANGE, GREEN, PURPLE, SOFT)


def compute(m: Material) -> str:
    """The section."""
    lines = read_system(m.folder)
    few = "" if len(lines) >= 2 else "The machine was not watched for long enough to draw how busy it was."
    return section(
        "compute",
        "Time and machines",
        pairs(_used(m, lines)),
        heading("How busy the machine was"),
        drawn(lambda: _utilisation(lines), few),
    )


def _used(m: Material, lines: Sequence[Line]) -> list[tuple[str, str]]:
    ended = record.finished(m.study)
    trained = sum(float(trial.user_attrs.get("seconds", 0.0)) for trial in ended)
    threads = int(m.sessions[-1]["machine"]["threads"]) if m.sessions else 1
    epochs = sum(own_epochs(trial) for trial in ended)
    saved = sum(
        int(m.options["epochs"]) - len(trial.intermediate_values)
        for trial in ended
        if trial.state == TrialState.PRUNED
    )
    rows = [
        ("time of the search", minutes_in_words(record.seconds(m.study) / 60)),
        ("core hours of trials", f"{trained * threads / 3600:.2f} ({counted(threads, 'core')} a trial)"),
        ("GPU hours of trials", f"{record.gpu_seconds(m.study) / 3600:.2f}"),
        ("epochs trained", f"{epochs}; {saved} more were not, as weak trials were stopped"),
    ]
    for name, values in utilisation(lines).items():
        if name.startswith(("processors", "GPU")):
            rows.append((f"{name}, mean", f"{np.mean(values):.0f} %" if len(values) else DASH))
    return rows


def own_epochs(trial: FrozenTrial) -> int:
    """Epochs that a trial trained itself: one that began from another's state has its curve, too."""
    attributes = trial.user_attrs  # see search/record/lineage.py
    inherited = 0 if attributes.get("parent") is None else int(attributes["parent_epoch"])
    return max(0, len(trial.intermediate_values) - inherited)


def utilisation(lines: Sequence[Line]) -> dict[str, list[float]]:
    """Percent in use, of every line: processors, memory, every GPU and its memory."""
    keys = {"processors": _CPU, "memory": _MEMORY}
    numbers = sorted(
        int(key.split("_")[1])
        for key in (lines[-1] if lines else {})
        if key.startswith(f"{PREFIX}gpu_") and key.endswith("_utilization_percentage")
    )
    for number in numbers:
        keys[f"GPU {number}"] = f"gpu_{number}_utilization_percentage"
        keys[f"GPU {number} memory"] = f"gpu_{number}_memory_usage_percentage"
    known = {name: [float(line.get(PREFIX + key, np.nan)) for line in lines] for name, key in keys.items()}
    return {name: values for name, values in known.items() if not np.isnan(values).all()}


def _utilisation(lines: Sequence[Line]) -> str:
    figure = go.Figure()
    minutes = _thinned([line["seconds"] / 60 for line in lines])
    for name, values in utilisation(lines).items():
        colour = BLUE if not name.startswith("GPU") else _COLOURS[int(name.split()[1]) % len(_COLOURS)]
        dash = "dot" if name.endswith("memory") else "solid"
        figure.add_scatter(
            x=minutes,
            y=_thinned(values),
            mode="lines",
            name=name,
            line={"color": colour, "dash": dash, "width": 1.8},
        )
    figure.update_xaxes(title_text="minutes of search", rangemode="tozero")
    figure.update_yaxes(title_text="%", range=[0, 102])
    return chart(figure, "use of processors, memory and GPUs", height=300)


def _thinned(values: Sequence[float]) -> list[float]:
    """Means of neighbours, so that no line has more than POINTS points."""
    if len(values) <= POINTS:
        return list(values)
    return [float(np.mean(part)) for part in np.array_split(np.asarray(values), POINTS)]
