"""How many trials at a time a device carries best: ``python -m benchmarks.speed.packing [--write]``.

1, 2, 3, ... processes train the same configuration side by side; what they get through together is counted.
On a GPU each gets an equal share of the memory and of the cores, on the CPU an equal share of the cores. With
``--write`` the best number is kept for GPUs of this name, and ``--gpus-per-trial auto`` uses it.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import time
import tomllib
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier

import numpy as np
import tomli_w
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.corpora import meld_dialogues
from rigsl.config import RIGSLConfig
from rigsl.data.batches import shuffled_batches
from rigsl.files import write_text
from rigsl.memory import Shapes, estimate_peak_bytes
from rigsl.official.presets import preset
from rigsl.training.trainer import Training
from search.export.environment import machine
from search.resources.workers import MEASURED, PACKED, cores, gpu_memory, usable_share

DIALOGUES = 161
#: A larger number of trials must be better by so much to be taken.
WORTH = 1.02


@dataclass(frozen=True)
class Setting:
    """What every process trains, where and for how long."""

    config: RIGSLConfig
    device: str
    seconds: float
    threads: int
    share: float  #: of the GPU's memory


def train(setting: Setting, start: Barrier, counts: multiprocessing.Queue[int]) -> None:
    """Train for the set time and tell how many utterances were trained on."""
    torch.set_num_threads(setting.threads)
    if setting.device != "cpu" and setting.share < 1:
        torch.cuda.set_per_process_memory_fraction(usable_share(setting.share, gpu_memory()))
    corpus = meld_dialogues(DIALOGUES, validation=1)
    training = Training(setting.config, corpus, device=setting.device)
    training.model.train()
    order = torch.Generator().manual_seed(0)
    chosen, size = corpus.dialogues("train"), setting.config.batch_size
    batches = itertools.cycle(list(shuffled_batches(corpus.lengths, chosen, size, order)))
    for batch in itertools.islice(batches, 3):
        training.train_on(batch, 0.1)
    start.wait()
    end, count = time.perf_counter() + setting.seconds, 0
    while time.perf_counter() < end:
        batch = next(batches)
        training.train_on(batch, 0.1)
        if setting.device != "cpu":
            torch.cuda.synchronize()
        count += int(corpus.lengths[batch].sum())
    counts.put(count)


def throughput(trials: int, config: RIGSLConfig, device: str, seconds: float) -> float:
    """Utterances that so many trials together train on in a second."""
    context = multiprocessing.get_context("spawn")
    start, counts = context.Barrier(trials), context.Queue()
    setting = Setting(config, device, seconds, max(1, cores() // trials), 1 / trials)
    processes = [context.Process(target=train, args=(setting, start, counts)) for _ in range(trials)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"{trials} trials at a time: a process failed")
    return sum(counts.get() for _ in processes) / seconds


def most_trials(config: RIGSLConfig, device: str) -> int:
    """As many as there are cores and, on a GPU, as its memory carries."""
    if device == "cpu":
        return cores()
    corpus = meld_dialogues(DIALOGUES, validation=1)
    needed = estimate_peak_bytes(config, Shapes.of(corpus), device=device)
    return max(1, min(PACKED, cores(), int(gpu_memory() / needed)))


def keep(trials: int, name: str) -> None:
    """Let `auto` pack so many trials on GPUs of this name."""
    known = tomllib.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    write_text(MEASURED, tomli_w.dumps(known | {name: {"trials": trials}}))


def main() -> None:
    """Print the table; keep the best number."""
    parser = argparse.ArgumentParser(description="How many trials at a time a device carries best.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=20.0, help="of every measurement (default: 20)")
    parser.add_argument("--write", action="store_true", help="keep the best number for this kind of GPU")
    args = parser.parse_args()
    config, console = preset("official/meld").config, Console()
    table = Table(title="Trials at a time: the published MELD configuration")
    for column in ("trials", "threads each", "utterances/s together", "against one"):
        table.add_column(column, justify="right")
    found: list[float] = []
    for trials in range(1, most_trials(config, args.device) + 1):
        with console.status(f"{trials} at a time"):
            found.append(throughput(trials, config, args.device, args.seconds))
        against = f"{found[-1] / found[0]:.2f}"
        table.add_row(str(trials), str(max(1, cores() // trials)), f"{found[-1]:,.0f}", against)
    best = next(number for number, one in enumerate(found, 1) if one * WORTH >= np.max(found))
    console.print(machine(args.device, cores()))
    console.print(table)
    console.print(f"best: {best} at a time")
    if args.write and args.device != "cpu":
        keep(best, torch.cuda.get_device_name())
        console.print(f"kept in {MEASURED.name}: --gpus-per-trial auto uses it")


if __name__ == "__main__":
    main()
