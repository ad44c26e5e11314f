"""What the search used: wall time, cores, GPUs, and their utilisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from rigsl.wording import DASH, counted
from search.record import lineage, record
from search.report.charts import chart
from search.report.data import StudyData
from search.report.html import drawn, heading, pairs
from search.report.style import BLUE, GREEN, ORANGE, PURPLE, SOFT
from search.space.budget import minutes_in_words
from search.tracking.system_metrics import PREFIX, Line, read_system

#: Most points of a line.
MAX_POINTS = 400
_CPU, _MEMORY = "cpu_utilization_percentage", "system_memory_usage_percentage"
_GPU_COLOURS = (ORANGE, GREEN, PURPLE, SOFT)


def content(data: StudyData) -> str:
    """The section."""
    lines = read_system(data.folder)
    missing = "" if len(lines) >= 2 else "The search was too short for a plot of the utilisation."
    return pairs(_used(data, lines)) + heading("Utilisation") + drawn(lambda: _utilisation(lines), missing)


def _used(data: StudyData, lines: Sequence[Line]) -> list[tuple[str, str]]:
    ended = record.finished(data.study)
    trained = sum(float(trial.user_attrs.get("seconds", 0.0)) for trial in ended)
    threads = int(data.sessions[-1]["machine"]["threads"]) if data.sessions else 1
    epochs = sum(own_epochs(trial) for trial in ended)
    saved = sum(
        int(data.options["epochs"]) - len(trial.intermediate_values)
        for trial in ended
        if trial.state == TrialState.PRUNED
    )
    savings = f"; {saved} were saved by stopping weak trials early" if saved else ""
    seconds, total = record.seconds(data.study), record.total_seconds(data.study)
    final_stage = total - seconds >= 1
    with_final = [("wall time with the final stage", minutes_in_words(total / 60))] if final_stage else []
    rows = [
        ("wall time of the search", minutes_in_words(seconds / 60)),
        *with_final,
        ("core hours of trials", f"{trained * threads / 3600:.2f} ({counted(threads, 'core')} per trial)"),
        ("GPU hours of trials", f"{record.gpu_seconds(data.study) / 3600:.2f}"),
        ("epochs trained", f"{epochs}{savings}"),
    ]
    for name, values in utilisation(lines).items():
        if name.startswith(("processors", "GPU")):
            rows.append((f"{name}, mean", f"{np.mean(values):.0f} %" if len(values) else DASH))
    return rows


def own_epochs(trial: FrozenTrial) -> int:
    """Epochs that a trial trained itself: a child of another trial has its parent's in its curve, too."""
    origin = lineage.origin(trial)
    return max(0, len(trial.intermediate_values) - (0 if origin is None else origin.epoch))


def utilisation(lines: Sequence[Line]) -> dict[str, list[float]]:
    """Percent in use, for every line: of processors, memory, every GPU and its memory."""
    metrics = {"processors": _CPU, "memory": _MEMORY}
    gpus = sorted(
        int(key.split("_")[1])
        for key in (lines[-1] if lines else {})
        if key.startswith(f"{PREFIX}gpu_") and key.endswith("_utilization_percentage")
    )
    for gpu in gpus:
        metrics[f"GPU {gpu}"] = f"gpu_{gpu}_utilization_percentage"
        metrics[f"GPU {gpu} memory"] = f"gpu_{gpu}_memory_usage_percentage"
    values = {
        name: [float(line.get(PREFIX + metric, np.nan)) for line in lines] for name, metric in metrics.items()
    }
    return {name: series for name, series in values.items() if not np.isnan(series).all()}


def _utilisation(lines: Sequence[Line]) -> str:
    figure = go.Figure()
    minutes = _thinned([line["seconds"] / 60 for line in lines])
    for name, values in utilisation(lines).items():
        colour = BLUE
        if name.startswith("GPU"):
            colour = _GPU_COLOURS[int(name.split()[1]) % len(_GPU_COLOURS)]
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
    """Means of neighbours, so that a line has at most MAX_POINTS points."""
    if len(values) <= MAX_POINTS:
        return list(values)
    return [float(np.mean(part)) for part in np.array_split(np.asarray(values), MAX_POINTS)]
