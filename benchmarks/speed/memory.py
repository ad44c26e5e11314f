"""Compare the memory estimate with measured peaks: ``python -m benchmarks.speed.memory``.

The peak is that of all tensors in a training: construction, and two epochs with their validations (the second
epoch trains while the best weights of the first are stored). On a GPU it is measured by CUDA's allocator, on
the CPU by PyTorch's profiler, which records every allocation and release. The column "process" is the growth
of a separate process; on a GPU, the memory that the allocator reserved.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks.corpora import iemocap_dialogues, meld_dialogues, one_long_dialogue, open_meld
from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch, BatchSource
from rigsl.data.corpus import Corpus
from rigsl.memory import Shapes, estimate_peak_bytes
from rigsl.official.presets import preset
from rigsl.training.trainer import Training
from search.run_folder import ROOT
from search.space.space import read_space

SPACE = ROOT / "spaces" / "meld_open.toml"
EPOCHS = 2
MIB = 2**20
#: A process may grow by FRAGMENTATION times the estimate plus RUNTIME bytes before it is counted as above.
FRAGMENTATION, RUNTIME = 1.8, 50 * MIB
SMALL = RIGSLConfig(
    modals="ld",
    hidden_dim=64,
    num_L=1,
    num_K=1,
    nodeformer_heads=2,
    nb_features_dim=32,
    gumbel_k=4,
    batch_size=8,
)


@dataclass(frozen=True)
class Case:
    """A configuration and a corpus to train it on."""

    name: str
    config: RIGSLConfig
    corpus: Callable[[], Corpus]


def cases() -> Iterator[Case]:
    """Published configurations, start points of a search, all backbones, and extreme configurations."""
    iemocap, meld = preset("official/iemocap").config, preset("official/meld").config
    iemocap_like = partial(iemocap_dialogues, 28, validation=4)
    meld_like = partial(meld_dialogues, 112, validation=12)
    yield Case("official/iemocap", iemocap, iemocap_like)
    yield Case("official/meld", meld, meld_like)
    space = read_space(SPACE)
    for number, start in enumerate(space.starts, 1):
        yield Case(f"open MELD, start {number}", space.config(start, seed=0), open_meld)
    deep = SMALL.replace(modals="lav", hidden_dim=128, num_L=4, num_K=2, ema=0.99)
    for backbone in ("GCN", "GAT", "MMGCN"):
        yield Case(backbone, deep.replace(backbone=backbone), iemocap_like)
    yield Case("bfloat16", meld.replace(precision="bf16", num_K=1, hidden_dim=256), meld_like)
    wide = SMALL.replace(hidden_dim=768, batch_size=1, ema=0.9)
    yield Case("weights outweigh all", wide, one_long_dialogue)
    yield Case("one long dialogue", SMALL.replace(hidden_dim=32, num_K=3, gumbel_k=64), one_long_dialogue)
    extremes: dict[str, dict[str, Any]] = {
        "official quirks, LSTM": {"official_quirks": True, "base_model": "LSTM"},
        "sparsemax, one modality": {"sparsifier": "sparsemax", "modals": "l", "num_L": 6},
        "validation outweighs all": {"batch_size": 1, "use_gumbel": False, "use_cgs": False},
        "without IGR, deep": {"use_igr": False, "use_residue": True, "num_L": 12},
        "jumping knowledge": {"use_jk_nodeformer": True, "num_K": 6, "norm": "LN"},
    }
    for name, changes in extremes.items():
        yield Case(name, SMALL.replace(**changes), open_meld)


def train(config: RIGSLConfig, corpus: Corpus, device: str) -> None:
    """The part of a training that the estimate refers to."""
    training = Training(config, corpus, device=device)
    for _ in range(EPOCHS):
        training.step()


def measured_peak(config: RIGSLConfig, corpus: Corpus, device: str = "cpu") -> int:
    """Peak bytes of tensors in a training."""
    if device == "cpu":
        return profiled_peak(lambda: train(config, corpus, device))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    train(config, corpus, device)
    return torch.cuda.max_memory_allocated(device)


def profiled_peak(work: Callable[[], object]) -> int:
    """Peak bytes of tensors on the CPU during `work`, without those from before it."""
    make_batch = BatchSource.batch

    def batch(source: BatchSource, dialogues: NDArray[np.int64]) -> Batch:
        made = make_batch(source, dialogues)
        # A batch on the CPU holds its features in numpy's memory, which the profiler does not record.
        features = {letter: values.clone() for letter, values in made.features.items()}
        return dataclasses.replace(made, features=features)

    with (
        patch.object(BatchSource, "batch", batch),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as profiled,
    ):
        work()
    total = peak = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            total += event.nbytes()
            peak = max(peak, total)
    return peak


def process_growth(case: Case) -> int:
    """Peak growth of this process's resident memory in bytes; only a process's first call is meaningful."""
    corpus = case.corpus()
    train(SMALL.replace(hidden_dim=4), one_long_dialogue(), "cpu")  # load what PyTorch loads at first use
    gc.collect()
    reset_peak()
    before = resident_bytes("VmRSS")
    train(case.config, corpus, "cpu")
    return resident_bytes("VmHWM") - before


def reset_peak() -> None:
    """Reset VmHWM, the peak of this process's resident memory."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def resident_bytes(name: str) -> int:
    """A line of /proc/self/status, such as VmRSS, in bytes. (A child process inherits ru_maxrss.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{name}:")[1].split()[0]) * 1024


def _process_memory(case: Case, device: str) -> int:
    """Bytes that a process takes from the machine for this case."""
    if device != "cpu":
        return torch.cuda.max_memory_reserved(device)
    command = [sys.executable, "-m", "benchmarks.speed.memory", "--growth-of", case.name]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(process.stdout.split()[-1])


def report(device: str, chosen: Sequence[Case]) -> None:
    """Measure the chosen cases and print the table."""
    table = Table(title=f"Peak memory of a training on {device}, MiB")
    table.add_column("configuration", no_wrap=True)
    for column in ("estimated", "measured", "ratio", "process"):
        table.add_column(column, justify="right")
    errors, above = [], 0
    for case in chosen:
        corpus = case.corpus()
        estimated = estimate_peak_bytes(case.config, Shapes.of(corpus), device=device)
        measured = measured_peak(case.config, corpus, device)
        process = _process_memory(case, device)
        errors.append(abs(estimated / measured - 1))
        above += process > FRAGMENTATION * estimated + RUNTIME
        cells = [f"{value / MIB:,.0f}" for value in (estimated, measured, process)]
        table.add_row(case.name, *cells[:2], f"{estimated / measured:.3f}", cells[2])
    Console().print(table)
    print(f"largest |ratio - 1|: {max(errors):.3f}")
    print(f"process above {FRAGMENTATION} x estimated + {RUNTIME // MIB} MiB: {above} of {len(errors)}")


def main() -> None:
    """Print the table, or the growth of this process."""
    parser = argparse.ArgumentParser(description="Compare the memory estimate with measured peaks.")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="default: cuda if there is a GPU, else cpu",
    )
    parser.add_argument("--only", default="", help="only cases whose name contains this text")
    parser.add_argument("--growth-of", help="print by how much this process grows in one case, on the CPU")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.growth_of:
        print(process_growth(next(case for case in cases() if case.name == args.growth_of)))
        return
    chosen = [case for case in cases() if args.only in case.name]
    if not chosen:
        parser.error(f"--only {args.only}: no case has this text in its name")
    report(args.device, chosen)


if __name__ == "__main__":
    main()
