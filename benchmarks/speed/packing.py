"""Measure throughput against concurrent trials: ``python -m benchmarks.speed.packing [--write]``.

1, 2, 3, ... processes train the same configuration at the same time; their total throughput is measured. On a
GPU each gets an equal share of the memory and of the cores, on the CPU an equal share of the cores. With
``--write`` the best number of concurrent trials is saved for this GPU model, and ``--gpus-per-trial auto``
uses it.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.synchronize import Barrier

import tomli_w
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.corpora import meld_dialogues
from rigsl.config import RIGSLConfig
from rigsl.data.batches import shuffled_batches
from rigsl.device import cores
from rigsl.files import write_text
from rigsl.memory import Shapes, estimate_peak_bytes
from rigsl.official.presets import preset
from rigsl.training.trainer import Training
from rigsl.wording import counted
from search.export.environment import machine
from search.resources.workers import MEASURED, PACKED, gpu_memory, usable_share

DIALOGUES = 161
#: More concurrent trials are chosen only if they raise the throughput by at least this factor.
MIN_GAIN = 1.02


@dataclass(frozen=True)
class Measurement:
    """What every process trains, on which device and for how long."""

    config: RIGSLConfig
    device: str
    seconds: float
    threads: int
    share: float  #: of the GPU's memory, for each process


def train(measurement: Measurement, start: Barrier, counts: multiprocessing.Queue[int]) -> None:
    """Train for the given time and put the number of utterances trained on into `counts`."""
    torch.set_num_threads(measurement.threads)
    if measurement.device != "cpu" and measurement.share < 1:
        torch.cuda.set_per_process_memory_fraction(usable_share(measurement.share, gpu_memory()))
    corpus = meld_dialogues(DIALOGUES, validation=1)
    training = Training(measurement.config, corpus, device=measurement.device)
    training.model.train()
    order = torch.Generator().manual_seed(0)
    chosen, size = corpus.dialogues("train"), measurement.config.batch_size
    batches = itertools.cycle(list(shuffled_batches(corpus.lengths, chosen, size, order)))
    for batch in itertools.islice(batches, 3):
        training.train_on(batch, 0.1)
    start.wait()
    end, count = time.perf_counter() + measurement.seconds, 0
    while time.perf_counter() < end:
        batch = next(batches)
        training.train_on(batch, 0.1)
        if measurement.device != "cpu":
            torch.cuda.synchronize()
        count += int(corpus.lengths[batch].sum())
    counts.put(count)


def throughput(trials: int, config: RIGSLConfig, device: str, seconds: float) -> float:
    """Utterances per second of `trials` concurrent trainings together.

    Raises:
        RuntimeError: a training failed.
    """
    context = multiprocessing.get_context("spawn")
    start, counts = context.Barrier(trials), context.Queue()
    measurement = Measurement(config, device, seconds, max(1, cores() // trials), 1 / trials)
    processes = [context.Process(target=train, args=(measurement, start, counts)) for _ in range(trials)]
    for process in processes:
        process.start()
    running = list(processes)
    while running:
        if any(process.exitcode for process in processes):  # before waiting: it may have failed long ago
            for process in running:  # they wait for it for ever
                process.kill()
        wait([process.sentinel for process in running])
        running = [process for process in running if process.exitcode is None]
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"{counted(trials, 'concurrent trial')}: a process failed")
    return sum(counts.get() for _ in processes) / seconds


def max_trials(config: RIGSLConfig, device: str) -> int:
    """The most concurrent trials to measure: one per core and, on a GPU, within its memory."""
    if device == "cpu":
        return cores()
    corpus = meld_dialogues(DIALOGUES, validation=1)
    needed = estimate_peak_bytes(config, Shapes.of(corpus), device=device)
    return max(1, min(PACKED, cores(), int(gpu_memory() / needed)))


def best_number(rates: Mapping[int, float]) -> int:
    """The smallest number of concurrent trials with the best throughput. `rates`: number -> throughput."""
    return min(trials for trials, rate in rates.items() if rate * MIN_GAIN >= max(rates.values()))


def save(trials: int, gpu: str) -> None:
    """Save `trials` as the number of concurrent trials for ``--gpus-per-trial auto`` on this GPU model."""
    saved = tomllib.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    write_text(MEASURED, tomli_w.dumps(saved | {gpu: {"trials": trials}}))


def main() -> None:
    """Print the table; save the best number."""
    parser = argparse.ArgumentParser(
        description="Measure the throughput of concurrent trainings on one device."
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="default: cuda if there is a GPU, else cpu",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="duration of each measurement (default: 20)"
    )
    parser.add_argument(
        "--write", action="store_true", help="save the best number of concurrent trials for this GPU model"
    )
    args = parser.parse_args()
    config, console = preset("official/meld").config, Console()
    table = Table(title="Concurrent trials of the published MELD configuration")
    for column in ("trials", "threads each", "utterances/s together", "relative to one trial"):
        table.add_column(column, justify="right")
    rates: list[float] = []
    for trials in range(1, max_trials(config, args.device) + 1):
        with console.status(counted(trials, "concurrent trial")):
            rates.append(throughput(trials, config, args.device, args.seconds))
        relative = f"{rates[-1] / rates[0]:.2f}"
        table.add_row(str(trials), str(max(1, cores() // trials)), f"{rates[-1]:,.0f}", relative)
    best = best_number(dict(enumerate(rates, 1)))
    console.print(machine(args.device, cores()))
    console.print(table)
    console.print(f"best: {counted(best, 'concurrent trial')}")
    if args.write and args.device != "cpu":
        save(best, torch.cuda.get_device_name())
        console.print(f"saved in {MEASURED.name}, for --gpus-per-trial auto")


if __name__ == "__main__":
    main()
