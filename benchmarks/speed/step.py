"""What a training step costs: ``python -m benchmarks.speed.step [--official CLONE]``.

Forward, backward and optimiser, batches put together included, at the two published configurations: real
dialogues of MELD, dialogues of IEMOCAP's lengths, random features of the official widths. The rounds of
the contenders alternate; a figure is the median over the rounds of seconds per utterance. Peak memory is
that of tensors, weights and optimiser included (CUDA's allocator; on the CPU PyTorch's profiler).
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
from rigsl.official.presets import preset
from rigsl.training.losses import link_factor
from rigsl.training.trainer import Training
from search.export.environment import machine

Step = Callable[[NDArray[np.int64]], object]
Batches = Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Contender:
    """One way to train on a batch of dialogues, and how it makes batches of the same dialogues."""

    name: str
    build: Callable[[], Step]
    batches: Callable[[int], Batches]  #: of a round, each another composition


@dataclass(frozen=True)
class Figure:
    """Seconds per utterance, and bytes of tensors at the peak."""

    seconds: float
    peak: int


def ours(name: str, config: RIGSLConfig, corpus: Corpus, device: str) -> Contender:
    """A training of this project, its batches bucketed by length."""

    def build() -> Step:
        training = Training(config, corpus, device=device)
        training.model.train()
        return lambda chosen: training.train_on(chosen, link_factor(config, 0))

    def batches(turn: int) -> Batches:
        order = torch.Generator().manual_seed(turn)
        return list(shuffled_batches(corpus.lengths, corpus.dialogues("train"), config.batch_size, order))

    return Contender(name, build, batches)


def official(clone: Path, config: RIGSLConfig, corpus: Corpus, device: str) -> Contender:
    """The official training, its batches at random."""

    def batches(turn: int) -> Batches:
        shuffled = np.random.default_rng(turn).permutation(corpus.dialogues("train"))
        size = config.batch_size
        return [shuffled[at : at + size] for at in range(0, len(shuffled), size)]

    return Contender("official", lambda: OfficialTraining(clone, config, corpus, device).train_on, batches)


def measure(contenders: Sequence[Contender], corpus: Corpus, device: str, rounds: int) -> list[Figure]:
    """Every contender's figure; the first round warms up and does not count."""
    utterances = int(corpus.lengths[corpus.dialogues("train")].sum())
    steps = [contender.build() for contender in contenders]
    seconds: list[list[float]] = [[] for _ in contenders]
    for turn in range(rounds + 1):
        for step, contender, found in zip(steps, contenders, seconds, strict=True):
            spent = _seconds(step, contender.batches(turn), device)
            if turn:
                found.append(spent / utterances)
    del steps
    return [
        Figure(statistics.median(found), peak(contender, corpus, device))
        for contender, found in zip(contenders, seconds, strict=True)
    ]


def _seconds(step: Step, batches: Batches, device: str) -> float:
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak(contender: Contender, corpus: Corpus, device: str) -> int:
    """Most bytes of tensors in a training's first step, on the largest batch: weights and optimiser, too."""
    largest = max(contender.batches(0), key=lambda batch: int((corpus.lengths[batch] ** 2).sum()))

    def train() -> None:
        contender.build()(largest)

    if device == "cpu":
        return profiled_peak(train)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    train()
    return torch.cuda.max_memory_allocated(device) - before


@dataclass(frozen=True)
class Problem:
    """A corpus with the published configuration for it."""

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
    """The rows of one problem: the published backbone in both precisions, the others in float32; beside
    `backbones` the official code."""
    for backbone in ("M3Net", "GCN", "GAT", "MMGCN"):
        config = problem.config.replace(backbone=backbone)
        contenders = [ours("float32", config, problem.corpus, device)]
        if backbone == problem.config.backbone:
            mixed = config.replace(precision="bf16")
            contenders.append(ours("bfloat16", mixed, problem.corpus, device))
        if clone is not None and backbone in backbones:
            contenders.append(official(clone, config, problem.corpus, device))
        figures = measure(contenders, problem.corpus, device, rounds)
        anchor = figures[-1] if contenders[-1].name == "official" else None
        for contender, figure in zip(contenders, figures, strict=True):
            row = [f"{problem.name} {backbone}", contender.name, *_cells(figure, anchor)]
            progress.print("measured:", *row)
            yield row


def _cells(figure: Figure, anchor: Figure | None) -> list[str]:
    cells = [f"{figure.seconds * 1e3:.2f}", "", f"{figure.peak / 1e6:,.0f}", ""]
    if anchor is not None and anchor is not figure:
        cells[1] = f"{anchor.seconds / figure.seconds:.1f}"
        cells[3] = f"{anchor.peak / figure.peak:.1f}"
    return cells


def lengths(device: str, table: Table) -> None:
    """One dialogue of many utterances at the published IEMOCAP configuration."""
    config = preset("official/iemocap").config.replace(batch_size=1)
    for count in (50, 100, 200, 400, 1000):
        corpus = synthetic_corpus([count, 2], IEMOCAP_WIDTHS, validation=1, views=4, text_default="first")
        figure = measure([ours("float32", config, corpus, device)], corpus, device, 3)[0]
        table.add_row(str(count), f"{figure.seconds * 1e3:.2f}", f"{figure.peak / 1e6:,.0f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What a training step costs.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--official", type=Path, metavar="CLONE", help="folder of a clone of the official code"
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=["M3Net"],
        choices=["M3Net", "GCN", "GAT"],  # its MMGCN fails with today's PyTorch
        help="official backbones to run (default: the published one)",
    )
    parser.add_argument("--batches", type=int, default=2, help="batches of a round (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (default: 3)")
    args = parser.parse_args()
    console = Console(width=100)
    console.print(machine(args.device, torch.get_num_threads()))
    table = Table(title="A training step at the published configurations")
    for column in ("configuration", "arithmetic", "ms per utterance", "x faster", "peak MB", "x smaller"):
        table.add_column(column, justify="left" if column in ("configuration", "arithmetic") else "right")
    for problem in problems(args.batches):
        for row in compare(
            problem, args.official, args.against, args.device, args.rounds, Console(stderr=True)
        ):
            table.add_row(*row)
    console.print(table)
    table = Table(title="One dialogue of so many utterances (IEMOCAP's configuration, float32)")
    for column in ("utterances", "ms per utterance", "peak MB"):
        table.add_column(column, justify="right")
    lengths(args.device, table)
    console.print(table)


if __name__ == "__main__":
    main()
