"""Measure the time that a search adds to its trainings: ``python -m benchmarks.speed.overhead``.

Searches run as a user runs them, without a scheduler and without a final stage, with trials of a chosen
duration. The end and the duration of every epoch, which the trials' learning curves record, are compared with
wall time.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table

from rigsl.data.source import load_corpus
from rigsl.training.trainer import Training
from rigsl.wording import DASH, counted
from search.export.environment import machine
from search.record.learning_curve import read_curve
from search.run_folder import ROOT
from search.space.space import read_space

MIB = 2**20
SPACE = """
[study]
dataset = "MELD"
features = "open"

[fixed]
modals = "ld"
hidden_dim = 32
backbone = "GCN"
num_L = 1
num_K = 1
nodeformer_heads = 1
nb_features_dim = 16
gumbel_k = 1
batch_size = 32
epochs = {epochs}

[space.lr]
type = "float"
low = 1e-4
high = 1e-2
log = true

[scheduler]
name = "none"

[final]
finalists = 0
test_seeds = 0
"""


@dataclass(frozen=True)
class TrialTimes:
    """Times of one trial."""

    start: float  #: of its first epoch
    end: float  #: of its last epoch
    seconds: tuple[float, ...]  #: durations of its epochs
    between: tuple[float, ...]  #: seconds from the end of an epoch to the start of the next


@dataclass(frozen=True)
class SearchTimes:
    """Times of one search, and its memory."""

    start: float  #: of the command
    end: float  #: of the command
    trials: tuple[TrialTimes, ...]  #: by their start
    workers: int
    shared: tuple[float, ...]  #: bytes of shared memory of all workers together, sampled during the search

    @property
    def ratio(self) -> float:
        """Wall time of the trainings (first start to last end) times workers, over their training time."""
        wall = max(trial.end for trial in self.trials) - self.trials[0].start
        return wall * self.workers / sum(sum(trial.seconds) for trial in self.trials)

    @property
    def gaps(self) -> list[float]:
        """Seconds from the end of a trial to the start of the next trial on its worker."""
        ends = sorted(trial.end for trial in self.trials)
        return [trial.start - end for trial, end in zip(self.trials[self.workers :], ends, strict=False)]


def run(folder: Path, epochs: int, trials: int, workers: int) -> SearchTimes:
    """Run one search in `folder`.

    Raises:
        RuntimeError: the search failed; the message is its output.
    """
    (folder / "space.toml").write_text(SPACE.format(epochs=epochs), encoding="utf-8")
    command = [
        sys.executable, str(ROOT / "run_search.py"), "--space", "space.toml", "--study", "s",
        "--trials", str(trials), "--workers", str(workers), "--time-budget", "2h",
    ]  # fmt: skip
    start, shared = time.time(), []
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        while process.poll() is None:
            time.sleep(0.5)
            shared.append(sum(shared_memory(worker) for worker in trial_workers(process.pid)))
    if process.returncode:
        raise RuntimeError((folder / "output.txt").read_text(encoding="utf-8"))
    times = sorted(_trial_times(folder / "runs" / "s" / "trials"), key=lambda trial: trial.start)
    return SearchTimes(start, time.time(), tuple(times), workers, tuple(shared))


def _trial_times(trials: Path) -> Iterator[TrialTimes]:
    for folder in trials.iterdir():
        if lines := read_curve(folder):
            seconds = tuple(line["epoch_seconds"] for line in lines)
            ends = [line["time"] for line in lines]
            starts = [end - duration for end, duration in zip(ends, seconds, strict=True)]
            between = tuple(start - end for start, end in zip(starts[1:], ends, strict=False))
            yield TrialTimes(starts[0], ends[-1], seconds, between)


def trial_workers(driver: int) -> list[psutil.Process]:
    """The processes that train the trials of a search; `driver`: process id of its command."""
    workers = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(driver).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if is_trial_worker(child):
                    workers.append(child)
    return workers


def is_trial_worker(process: psutil.Process) -> bool:
    """Whether a process is a worker of Ray that trains."""
    title = " ".join(process.cmdline())
    return "TrialWorker" in title or "ray::_Inner" in title  # Ray's name of one with parameters


def shared_memory(process: psutil.Process) -> float:
    """Proportional set size of a process in shared memory (the object store), in bytes.

    A page that k processes have read counts 1/k for each of them.
    """
    total, is_shared = 0.0, False
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps").read_text(encoding="utf-8").splitlines():
            if "-" in line.split(maxsplit=1)[0]:
                is_shared = "/dev/shm" in line or "plasma" in line
            elif is_shared and line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def epoch_seconds() -> float:
    """Seconds of one epoch of the searches' trainings, on an idle machine with one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.toml"
        path.write_text(SPACE.format(epochs=3), encoding="utf-8")
        config = read_space(path).config({"lr": 1e-3}, seed=0)
    training = Training(config, load_corpus("MELD", "open"))
    return min(training.step().seconds for _ in range(3))


def measure(seconds: float, per_epoch: float, trials: int, workers: int) -> SearchTimes:
    """Run a search whose trials take about `seconds` each."""
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), max(1, round(seconds / per_epoch)), trials, workers)


def row(seconds: float, search: SearchTimes) -> list[str]:
    """A row of the table."""
    between = [gap for trial in search.trials for gap in trial.between]
    gaps = search.gaps
    return [
        f"{seconds:g} s",
        f"{len(search.trials)} on {search.workers}",
        f"{search.trials[0].start - search.start:.1f}",
        f"{search.ratio:.3f}",
        f"{statistics.median(gaps) * 1e3:.0f} / {max(gaps) * 1e3:.0f}",
        f"{statistics.median(between) * 1e3:.1f}" if between else DASH,  # a dash: trials of one epoch
        f"{max(search.shared) / MIB:.0f}",
    ]


def report(cases: Sequence[tuple[float, int, int]]) -> None:
    """Run searches (seconds of a trial, trials, workers) and print their times."""
    corpus = load_corpus("MELD", "open")
    size = sum(array.nbytes for array in corpus.features.values())
    per_epoch = epoch_seconds()
    console = Console(width=130)
    console.print(machine("cpu", 1))
    table = Table(title=f"Searches (epochs of {per_epoch:.2f} s, features of {size / MIB:.0f} MiB)")
    for column in (
        "trial", "trials on workers", "first trial after, s", "wall time x workers / training time",
        "between trials, ms: median / maximum", "between epochs, ms", "shared memory, MiB",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for seconds, trials, workers in cases:
        with console.status(f"{counted(trials, 'trial')} of {seconds:g} s on {counted(workers, 'worker')}"):
            table.add_row(*row(seconds, measure(seconds, per_epoch, trials, workers)))
    console.print(table)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the time that a search adds to its trainings.")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="concurrent trials (default: one per core)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter trials")
    args = parser.parse_args()
    long, short = (8.0, 2.0) if args.quick else (30.0, 5.0)
    trials = 2 * args.workers if args.quick else 4 * args.workers
    report([(long, trials, args.workers), (short, 3 * trials, args.workers), (short, trials, 1)])


if __name__ == "__main__":
    main()
