"""Measure the way to the first trial: ``python -m benchmarks.speed.first_trial [--against FOLDER]``.

A small search is started as a user starts it. Noted are the seconds after the command at which it passes its
milestones, and the processor seconds that all its processes have used when the first epoch has ended.
With ``--against`` a second checkout takes turns with this one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.speed import milestones
from benchmarks.speed.overhead import SPACE, is_trial_worker
from rigsl.wording import DASH
from search.export.environment import machine
from search.record.learning_curve import read_curve
from search.run_folder import CONFIG, ROOT, TRIALS

#: Seconds that a search may take until its first epoch has ended.
PATIENCE = 300.0
BUILT, BEGUN, ENDED = "a worker builds the first trial", "first epoch begun", "first epoch ended"
#: part of a command line -> what the process is for; the first that is found.
KINDS = {
    "ray::DashboardAgent": "agents", "ray::RuntimeEnvAgent": "agents", "ray_agent.py": "agents",
    "dashboard/agent.py": "agents", "runtime_env/agent": "agents", "ray::": "workers",
    "default_worker": "workers", "raylet/raylet": "raylet", "gcs_server": "gcs_server",
    "dashboard/dashboard.py": "dashboard", "log_monitor.py": "log monitor", "monitor.py": "monitor",
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """How one search came to its first trial."""

    seconds: dict[str, float]  #: milestone -> seconds after the command
    processor: Counter[str]  #: kind of process -> processor seconds when the first epoch had ended


def run(folder: Path, root: Path, workers: int) -> Start:
    """Start the search of the checkout `root` in the empty `folder`.

    Raises:
        RuntimeError: it failed; the message is its output.
    """
    (folder / "space.toml").write_text(SPACE.format(epochs=1), encoding="utf-8")
    notes = folder / "milestones.txt"
    command = [
        sys.executable, milestones.__file__, str(root), str(notes), "--space", "space.toml", "--study", "s",
        "--trials", str(workers), "--workers", str(workers), "--time-budget", "2h",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(root)}
    start, processor = time.time(), Counter[str]()
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            if not processor and _first_curve(folder) is not None:
                processor = processor_seconds(process.pid)
            if time.time() > start + PATIENCE:
                process.kill()
            time.sleep(0.05)
    curve = _first_curve(folder)
    if process.returncode or curve is None:
        raise RuntimeError((folder / "output.txt").read_text(encoding="utf-8"))
    lines = (line.split("\t") for line in notes.read_text(encoding="utf-8").splitlines())
    times = {name: float(moment) for name, moment in lines}
    first = read_curve(curve)[0]
    times |= {BUILT: (curve / CONFIG).stat().st_mtime, ENDED: first["time"]}
    times[BEGUN] = first["time"] - first["epoch_seconds"]
    return Start({name: moment - start for name, moment in times.items()}, processor)


def _first_curve(folder: Path) -> Path | None:
    """The folder of the trial whose first epoch ended first; None: there is none yet."""
    trials = [path for path in (folder / "runs" / "s" / TRIALS).glob("*") if read_curve(path)]
    return min(trials, key=lambda path: float(read_curve(path)[0]["time"]), default=None)


def processor_seconds(driver: int) -> Counter[str]:
    """Processor seconds so far of the process `driver` and its descendants, by their kinds."""
    found = Counter[str]()
    process = psutil.Process(driver)
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = each.cpu_times()
            found[kind(each) if each != process else "driver"] += times.user + times.system
    return found


def kind(process: psutil.Process) -> str:
    """What a process of Ray is for."""
    title = " ".join(process.cmdline())
    if is_trial_worker(process):
        return "workers"
    program = title.split(" --", maxsplit=1)[0]  # the raylet's options hold the commands of others
    return next((name for part, name in KINDS.items() if part in program), "others")


def report(roots: Sequence[Path], rounds: int, workers: int) -> None:
    """Measure the checkouts in turns and print the medians."""
    starts: dict[Path, list[Start]] = {root: [] for root in roots}
    console = Console(width=110)
    console.print(machine("cpu", 1))
    for number in range(rounds):
        for root in roots if number % 2 == 0 else roots[::-1]:
            with tempfile.TemporaryDirectory() as folder, console.status(f"round {number + 1}, {root}"):
                starts[root].append(run(Path(folder), root, workers))
    title = "Seconds after the command, median" + (f" of {rounds} rounds" if rounds > 1 else "")
    table = Table("", title=title)
    for root in roots:
        table.add_column("this checkout" if root == ROOT else str(root), justify="right")
    own = starts[roots[0]][0].seconds
    for name in sorted(own, key=lambda name: _median(starts[roots[0]], name)):
        table.add_row(name, *(f"{_median(starts[root], name):.2f}" for root in roots))
    table.add_section()
    used = {root: [start.processor for start in starts[root]] for root in roots}
    totals = [statistics.median(sum(each.values()) for each in used[root]) for root in roots]
    table.add_row("processor seconds until then", *(f"{total:.1f}" for total in totals))
    for name in sorted({name for counters in used.values() for each in counters for name in each}):
        medians = [statistics.median(each[name] for each in used[root]) for root in roots]
        table.add_row(f"  {name}", *(f"{median:.1f}" if median else DASH for median in medians))
    console.print(table)


def _median(starts: Sequence[Start], name: str) -> float:
    return statistics.median(start.seconds[name] for start in starts)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the way to a search's first trial.")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout, measured in turns")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="searches of each checkout")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="concurrent trials")
    args = parser.parse_args()
    report([ROOT, *([args.against.resolve()] if args.against else [])], args.rounds, args.workers)


if __name__ == "__main__":
    main()
