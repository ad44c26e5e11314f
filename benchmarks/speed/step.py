"""Measure time and memory of a training step: ``python -m benchmarks.speed.step [--official CLONE]``.

A step is forward, backward and optimiser, and the construction of its batch. It runs at the two published
configurations: on real dialogues of MELD and on dialogues of IEMOCAP's lengths, with random features of the
official widths. The implementations take turns, round by round; a time is the median over rounds of the
seconds per utterance. Peak memory is that of tensors, weights and optimiser state included (measured by
CUDA's allocator; on the CPU by PyTorch's profiler).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.corpora import IEMOCAP_WIDTHS, iemocap_dialogues, meld_dialogues, synthetic_corpus
from benchmarks.speed.memory import profiled_peak
from benchmarks.speed.official import OfficialTraining
from rigsl.config import RIGSLConfig
from rigsl.data.batches import shuffled_batches
from rigsl.data.corpus import Corpus
from rigsl.data.source import load_corpus
from rigsl.official.presets import preset
from rigsl.precisions import instruction_sets
from rigsl.training.losses import link_factor
from rigsl.training.trainer import Training
from search.export.environment import machine
from search.run_folder import ROOT
from search.space.space import Space, read_space

#: Batches in a round of `small_steps`.
SMALL_BATCHES = 16
Step = Callable[[NDArray[np.int64]], object]
Batches = Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Implementation:
    """An implementation of the training step, and its way to make batches of the same dialogues."""

    name: str
    build: Callable[[], Step]
    batches: Callable[[int], Batches]  #: number of a round -> its batches, composed anew each round


@dataclass(frozen=True)
class Measurement:
    """The cost of a training step."""

    seconds: float  #: per utterance
    peak: int  #: bytes of tensors


def ours(
    name: str, config: RIGSLConfig, corpus: Corpus, device: str, *, compiled: bool = False
) -> Implementation:
    """This project's training, with batches bucketed by length; `compiled` by ``torch.compile``."""

    def build() -> Step:
        training = Training(config, corpus, device=device)
        training.model.train()
        if compiled:
            training.model.compile(dynamic=True)
        return lambda chosen: training.train_on(chosen, link_factor(config, 0))

    def batches(turn: int) -> Batches:
        order = torch.Generator().manual_seed(turn)
        return list(shuffled_batches(corpus.lengths, corpus.dialogues("train"), config.batch_size, order))

    return Implementation(name, build, batches)


def official(clone: Path, config: RIGSLConfig, corpus: Corpus, device: str) -> Implementation:
    """The official training, with random batches."""

    def batches(turn: int) -> Batches:
        shuffled = np.random.default_rng(turn).permutation(corpus.dialogues("train"))
        size = config.batch_size
        return [shuffled[at : at + size] for at in range(0, len(shuffled), size)]

    return Implementation(
        "official", lambda: OfficialTraining(clone, config, corpus, device).train_on, batches
    )


def measure(
    implementations: Sequence[Implementation], corpus: Corpus, device: str, rounds: int
) -> list[Measurement]:
    """The measurement of every implementation; the first round is a warm-up and does not count."""
    utterances = int(corpus.lengths[corpus.dialogues("train")].sum())
    steps = [implementation.build() for implementation in implementations]
    seconds: list[list[float]] = [[] for _ in implementations]
    for turn in range(rounds + 1):
        for step, implementation, rounds_seconds in zip(steps, implementations, seconds, strict=True):
            duration = seconds_of(step, implementation.batches(turn), device)
            if turn:
                rounds_seconds.append(duration / utterances)
    del steps
    return [
        Measurement(statistics.median(rounds_seconds), peak(implementation, corpus, device))
        for implementation, rounds_seconds in zip(implementations, seconds, strict=True)
    ]


def seconds_of(step: Step, batches: Batches, device: str) -> float:
    """The time that steps on these batches take, until the device has done them."""
    _wait(device)
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def peak(implementation: Implementation, corpus: Corpus, device: str) -> int:
    """Peak bytes of tensors in a training's first step, on the largest batch, with weights and optimiser."""
    largest = max(implementation.batches(0), key=lambda batch: int((corpus.lengths[batch] ** 2).sum()))

    def train() -> None:
        implementation.build()(largest)

    if device == "cpu":
        return profiled_peak(train)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    train()
    return torch.cuda.max_memory_allocated(device) - before


@dataclass(frozen=True)
class Problem:
    """A corpus and the published configuration for it."""

    name: str
    corpus: Corpus
    config: RIGSLConfig


def problems(batches: int) -> Iterator[Problem]:
    """The published MELD and IEMOCAP configurations on `batches` batches of dialogues."""
    meld, iemocap = preset("official/meld").config, preset("official/iemocap").config
    corpus = meld_dialogues(batches * meld.batch_size + 1, validation=1)
    yield Problem("MELD", corpus, meld)
    corpus = iemocap_dialogues(batches * iemocap.batch_size + 1, validation=1)
    yield Problem("IEMOCAP", corpus, iemocap)


def compare(
    problem: Problem,
    clone: Path | None,
    backbones: Sequence[str],
    device: str,
    rounds: int,
    progress: Console,
) -> Iterator[list[str]]:
    """The table rows of one problem: the published backbone in float32 and bfloat16, the others in float32.

    Args:
        problem: the corpus and its configuration.
        clone: folder of the official code; None: it is not measured.
        backbones: those for which the official code is measured, too.
        device: where to train.
        rounds: that count.
        progress: prints every row as soon as it is measured.
    """
    for backbone in ("M3Net", "GCN", "GAT", "MMGCN"):
        config = problem.config.replace(backbone=backbone)
        implementations = [ours("float32", config, problem.corpus, device)]
        if backbone == problem.config.backbone:
            mixed = config.replace(precision="bf16")
            implementations.append(ours("bfloat16", mixed, problem.corpus, device))
        if clone is not None and backbone in backbones:
            implementations.append(official(clone, config, problem.corpus, device))
        measurements = measure(implementations, problem.corpus, device, rounds)
        reference = measurements[-1] if implementations[-1].name == "official" else None
        for implementation, measurement in zip(implementations, measurements, strict=True):
            row = [f"{problem.name} {backbone}", implementation.name, *_cells(measurement, reference)]
            progress.print("measured:", *row)
            yield row


def _cells(measurement: Measurement, reference: Measurement | None) -> list[str]:
    """Time and memory, each with its factor against the official code where that was measured."""
    cells = [f"{measurement.seconds * 1e3:.2f}", "", f"{measurement.peak / 1e6:,.0f}", ""]
    if reference is not None and reference is not measurement:
        cells[1] = f"{reference.seconds / measurement.seconds:.1f}"
        cells[3] = f"{reference.peak / measurement.peak:.1f}"
    return cells


def lengths(device: str, table: Table, counts: Sequence[int], window: int) -> None:
    """Add rows for single dialogues of these lengths at the published IEMOCAP configuration to `table`.

    Args:
        window: past and future utterances that an utterance is connected with; -1: all.
    """
    config = preset("official/iemocap").config.replace(batch_size=1, windowp=window, windowf=window)
    for count in counts:
        corpus = synthetic_corpus([count, 2], IEMOCAP_WIDTHS, validation=1, views=4, text_default="first")
        measurement = measure([ours("float32", config, corpus, device)], corpus, device, 3)[0]
        table.add_row(str(count), f"{measurement.seconds * 1e3:.2f}", f"{measurement.peak / 1e6:,.0f}")


def small_steps(space: Space, rounds: int) -> Iterator[list[str]]:
    """A row for each start point of a space of small models: its processor time a step, where many small
    operators are the work. A round is a part of an epoch; the first one is a warm-up."""
    corpus = load_corpus(space.dataset, space.features)
    steps = [ours("", space.config(start, seed=0), corpus, "cpu") for start in space.starts]
    built = [step.build() for step in steps]
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(rounds + 1):
        for step, implementation, own in zip(built, steps, times, strict=True):
            batches = implementation.batches(turn)[:SMALL_BATCHES]
            start = time.process_time()
            for batch in batches:
                step(batch)
            if turn:
                own.append((time.process_time() - start) / len(batches))
    for index, own in enumerate(times):
        yield [f"start point {index + 1}", f"{statistics.median(own) * 1e3:.2f}", f"{min(own) * 1e3:.2f}"]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure time and memory of a training step.")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="default: cuda if there is a GPU, else cpu",
    )
    parser.add_argument(
        "--official", type=Path, metavar="CLONE", help="folder of a clone of the official code"
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=["M3Net"],
        choices=["M3Net", "GCN", "GAT"],  # the official MMGCN fails with today's PyTorch
        help="backbones for which the official code runs, too (default: the published M3Net)",
    )
    parser.add_argument("--batches", type=int, default=2, help="batches per round (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after the warm-up (default: 3)")
    parser.add_argument(
        "--long",
        type=int,
        nargs="*",
        metavar="UTTERANCES",
        help="only single dialogues of these lengths, with windows (default: 100 1000 10000)",
    )
    parser.add_argument(
        "--window", type=int, default=20, help="past and future utterances of --long (default: 20)"
    )
    parser.add_argument(
        "--space", metavar="NAME", help="only the start points of this space of spaces/, such as meld_open"
    )
    args = parser.parse_args()
    console = Console(width=100)
    console.print(machine(args.device, torch.get_num_threads()))
    console.print(f"instruction sets: {', '.join(instruction_sets()) or 'unknown'}")
    if args.long is not None:
        counts = args.long or (100, 1_000, 10_000)
        table = _lengths_table(
            f"A single dialogue with windows of {args.window} (IEMOCAP's configuration, float32)"
        )
        lengths(args.device, table, counts, args.window)
        console.print(table)
        return
    if args.space is not None:
        table = Table(title=f"A training step of spaces/{args.space}.toml, processor time")
        for column in ("configuration", "ms a step, median", "least"):
            table.add_column(column, justify="right")
        for row in small_steps(read_space(ROOT / "spaces" / f"{args.space}.toml"), args.rounds):
            table.add_row(*row)
        console.print(table)
        return
    table = Table(title="A training step at the published configurations")
    for column in ("configuration", "arithmetic", "ms per utterance", "x faster", "peak MB", "x smaller"):
        table.add_column(column, justify="left" if column in ("configuration", "arithmetic") else "right")
    for problem in problems(args.batches):
        for row in compare(
            problem, args.official, args.against, args.device, args.rounds, Console(stderr=True)
        ):
            table.add_row(*row)
    console.print(table)
    table = _lengths_table("A single dialogue (IEMOCAP's configuration, float32)")
    lengths(args.device, table, (50, 100, 200, 400, 1000), -1)
    console.print(table)


def _lengths_table(title: str) -> Table:
    table = Table(title=title)
    for column in ("utterances", "ms per utterance", "peak MB"):
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    main()
