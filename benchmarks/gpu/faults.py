"""A search with system metrics and an automatic share of the GPU, in which trials fail."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.context import Context
from benchmarks.gpu.faulty_search import BROKEN_ALWAYS, BROKEN_ONCE, OUT_OF_MEMORY
from benchmarks.gpu.results import Row
from benchmarks.gpu.searches import STUDY, search
from benchmarks.gpu.study import write_space
from rigsl.wording import counted
from search.results import TrialResult, load_study
from search.run_folder import ENVIRONMENT
from search.tracking.system_metrics import PREFIX

TRIALS = 6
#: Names of MLflow's metrics -> their unit.
GPU_METRICS = {
    "gpu_0_utilization_percentage": "%",
    "gpu_0_memory_usage_megabytes": "MB",
    "gpu_0_power_usage_watts": "W",
}
CPU_METRICS = {"cpu_utilization_percentage": "%", "system_memory_usage_megabytes": "MB"}


def rows(context: Context) -> Iterator[Row]:
    """A row for each check."""
    folder, epochs = context.scratch, context.choose(4, 3)
    where = ["--device", "cuda", "--gpus-per-trial", "auto"]
    if not context.cuda:
        where = ["--device", "cpu", "--workers", "2"]
    arguments = [
        "--study", STUDY, "--space", str(write_space(folder, context.quick)), "--epochs", str(epochs),
        "--trials", str(TRIALS), "--time-budget", "1h", "--scheduler", "none", "--finalists", "0",
        "--test-seeds", "0", *where,
    ]  # fmt: skip
    with search(folder, "-m", "benchmarks.gpu.faulty_search", *arguments) as command:
        command.wait(context.seconds_left())
    run = folder / "runs" / STUDY
    yield _workers(run, context)
    yield _metrics(folder / "mlflow.db", context)
    trials = {trial.number: trial for trial in load_study(run).trials}
    note = "" if context.cuda else "stand-in: the error alone"
    yield _trial("a trial out of memory", trials[OUT_OF_MEMORY], "failed", "out of memory", note)
    yield _trial("a GPU context that breaks once", trials[BROKEN_ONCE], "complete", "", note)
    yield _trial("one that always breaks", trials[BROKEN_ALWAYS], "failed", "crashed", note)
    others = [trial for trial in trials.values() if trial.number not in (1, 2, 3)]
    met = len(trials) == TRIALS and all(len(trial.curve) == epochs for trial in others)
    yield Row("the other trials", {"state": ", ".join(trial.state for trial in others)}, met)


def _workers(run: Path, context: Context) -> Row:
    """The share of a GPU that a trial got."""
    start = json.loads((run / ENVIRONMENT).read_text(encoding="utf-8"))
    entry = start[-1] if isinstance(start, list) else start
    values = {"state": counted(entry["workers"], "worker")}
    if not context.cuda:
        return Row("--gpus-per-trial auto", values, note="skipped: needs a GPU")
    share = entry["gpus_per_trial"]
    return Row("--gpus-per-trial auto", values, 0 < share <= 1, f"{share:g} of a GPU for each trial")


def _metrics(database: Path, context: Context) -> Row:
    """The largest values of the system metrics in MLflow."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        found = dict(
            connection.execute(
                "SELECT key, MAX(value) FROM metrics WHERE key LIKE ? GROUP BY key", (PREFIX + "%",)
            )
        )
    wanted = GPU_METRICS if context.cuda else CPU_METRICS
    present = {name: found[PREFIX + name] for name in wanted if PREFIX + name in found}
    note = ", ".join(f"{name} {value:,.0f} {wanted[name]}" for name, value in present.items())
    if not context.cuda:
        return Row(
            "system metrics in MLflow", note=f"stand-in, of the machine: {note or 'too short for one'}"
        )
    return Row(
        "system metrics in MLflow, maximum", ok=len(present) == len(wanted), note=note or "there are none"
    )


def _trial(name: str, trial: TrialResult, state: str, reason: str, note: str) -> Row:
    """A trial ended as it should: `reason` begins the reason of its failure."""
    met = trial.state == state and trial.reason.startswith(reason)
    words = f"{trial.state}: {trial.reason}" if trial.reason else trial.state
    return Row(name, {"state": words}, met, note)
