"""What a search costs beside its trainings: ``python -m benchmarks.speed.overhead``.

Searches of the main job's kind are run as a user runs them, without scheduler and final stage, with trials of
a chosen length. What every trial's curve says of its epochs (when each ended, how long it took) is compared
with the clock.
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
class Span:
    """One trial: when its first epoch began and its last one ended, and the seconds of its epochs."""

    start: float
    end: float
    seconds: tuple[float, ...]
    between: tuple[float, ...]  #: seconds from an epoch's end to the next one's begin


@dataclass(frozen=True)
class Search:
    """A search that was run: when its command began and ended, its trials, its workers."""

    command: float
    end: float
    spans: tuple[Span, ...]  #: by their begin
    workers: int
    shared: tuple[float, ...]  #: bytes of shared memory that all workers together account for, now and then

    @property
    def ratio(self) -> float:
        """Wall time from the first epoch's begin to the last one's end, over training time a worker."""
        wall = max(span.end for span in self.spans) - self.spans[0].start
        return wall * self.workers / sum(sum(span.seconds) for span in self.spans)

    @property
    def gaps(self) -> list[float]:
        """Seconds from a trial's end to the begin of the one that took its worker."""
        ends = sorted(span.end for span in self.spans)
        return [span.start - end for span, end in zip(self.spans[self.workers :], ends, strict=False)]


def run(folder: Path, epochs: int, trials: int, workers: int) -> Search:
    """Run one search in `folder`."""
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
    spans = sorted(_spans(folder / "runs" / "s" / "trials"), key=lambda span: span.start)
    return Search(start, time.time(), tuple(spans), workers, tuple(shared))


def _spans(trials: Path) -> Iterator[Span]:
    for folder in trials.iterdir():
        if lines := read_curve(folder):
            seconds = tuple(line["epoch_seconds"] for line in lines)
            ends = [line["time"] for line in lines]
            starts = [end - spent for end, spent in zip(ends, seconds, strict=True)]
            between = tuple(start - end for start, end in zip(starts[1:], ends, strict=False))
            yield Span(starts[0], ends[-1], seconds, between)


def trial_workers(driver: int) -> list[psutil.Process]:
    """The processes in which the trials of a search run; `driver`: the process of its command."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(driver).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                title = " ".join(child.cmdline())
                if "TrialWorker" in title or "ray::_Inner" in title:  # as Ray calls one with parameters
                    found.append(child)
    return found


def shared_memory(process: psutil.Process) -> float:
    """Bytes of shared memory (the object store) that a process accounts for: a page that k processes have
    read counts 1/k for each (proportional set size)."""
    total, counts = 0.0, False
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps").read_text(encoding="utf-8").splitlines():
            if "-" in line.split(maxsplit=1)[0]:
                counts = "/dev/shm" in line or "plasma" in line
            elif counts and line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def epoch_seconds() -> float:
    """Seconds of an epoch of the searches' trainings, alone on one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.toml"
        path.write_text(SPACE.format(epochs=3), encoding="utf-8")
        config = read_space(path).config({"lr": 1e-3}, seed=0)
    training = Training(config, load_corpus("MELD", "open"))
    return min(training.step().seconds for _ in range(3))


def measure(seconds: float, per_epoch: float, trials: int, workers: int) -> Search:
    """A search whose trials take `seconds` each."""
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), max(1, round(seconds / per_epoch)), trials, workers)


def row(seconds: float, search: Search) -> list[str]:
    """A line of the table."""
    between = [gap for span in search.spans for gap in span.between]
    gaps = search.gaps
    return [
        f"{seconds:g} s",
        f"{len(search.spans)} on {search.workers}",
        f"{search.spans[0].start - search.cli:.1f}",
        f"{search.ratio:.3f}",
        f"{statistics.median(gaps) * 1e3:.0f} / {max(gaps) * 1e3:.0f}",
        f"{statistics.median(between) * 1e3:.1f}",
        f"{max(search.shared) / MIB:.0f}",
    ]


def report(cases: Sequence[tuple[float, int, int]]) -> None:
    """Run and print."""
    corpus = load_corpus("MELD", "open")
    size = sum(array.nbytes for array in corpus.features.values())
    per_epoch = epoch_seconds()
    console = Console(width=130)
    console.print(machine("cpu", 1))
    table = Table(title=f"Searches (epochs of {per_epoch:.2f} s, features of {size / MIB:.0f} MiB)")
    for column in (
        "trial", "trials, workers", "first trial after s", "wall x workers / training",
        "between trials, ms: median / most", "between epochs, ms", "shared memory, MiB",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for seconds, trials, workers in cases:
        with console.status(f"{trials} trials of {seconds:g} s on {workers} workers"):
            table.add_row(*row(seconds, measure(seconds, per_epoch, trials, workers)))
    console.print(table)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What a search costs beside its trainings.")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="default: one a core")
    parser.add_argument("--quick", action="store_true", help="short trials and few of them")
    args = parser.parse_args()
    long, short = (8.0, 2.0) if args.quick else (30.0, 5.0)
    few = 2 * args.workers if args.quick else 4 * args.workers
    report([(long, few, args.workers), (short, 3 * few, args.workers), (short, few, 1)])


if __name__ == "__main__":
    main()
