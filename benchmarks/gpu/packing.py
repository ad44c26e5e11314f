"""Throughput of 1, 2, 4, 8 and 16 concurrent trainings; the best number is saved for this GPU model."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.corpora import meld_dialogues
from benchmarks.gpu.context import Context
from benchmarks.gpu.results import Row
from benchmarks.speed.packing import DIALOGUES, best_number, save, throughput
from rigsl.device import cores
from rigsl.memory import Shapes, estimate_peak_bytes
from rigsl.official.presets import preset
from rigsl.wording import counted
from search.resources.workers import MARGIN, MEASURED, gpu_memory, usable_share

TRIALS = (1, 2, 4, 8, 16)
#: Of each measurement, besides the start of its processes.
SECONDS = 5.0


def rows(context: Context) -> Iterator[Row]:
    """A row for each number of concurrent trials, and one for what is saved."""
    config = preset("official/meld").config
    if context.quick:
        config = config.replace(hidden_dim=32, batch_size=4)
    needed = estimate_peak_bytes(
        config, Shapes.of(meld_dialogues(DIALOGUES, validation=1)), device=context.device
    )
    rates: dict[int, float] = {}
    for trials in TRIALS[:2] if context.quick else TRIALS:
        name = counted(trials, "trial")
        if trials > cores():
            yield Row(name, note=f"not measured: this machine has {counted(cores(), 'core')}")
        elif context.cuda and not _fits(needed, trials):
            yield Row(name, note="not measured: they do not fit into the GPU's memory")
        elif not context.seconds_left():
            yield Row(name, note="not measured: no time was left")
        else:
            rates[trials] = throughput(trials, config, context.device, 1.0 if context.quick else SECONDS)
            values = {
                "threads each": str(max(1, cores() // trials)),
                "utterances/s together": f"{rates[trials]:,.0f}",
                "relative to one trial": f"{rates[trials] / rates[1]:.2f}",
            }
            yield Row(name, values)
    if rates:
        yield _saved(best_number(rates), context)


def _fits(needed: int, trials: int) -> bool:
    """Whether each trial's share of the GPU's memory is enough."""
    total = gpu_memory()
    return needed * MARGIN <= usable_share(1 / trials, total) * total


def _saved(best: int, context: Context) -> Row:
    """Save the best number, for ``--gpus-per-trial auto``."""
    name = f"best: {counted(best, 'trial')}"
    if not context.cuda:
        return Row(name, note=f"not saved: {MEASURED.name} is about GPUs")
    save(best, torch.cuda.get_device_name())
    return Row(name, note=f"saved in {MEASURED.name}, for `--gpus-per-trial auto` on this GPU model")
