"""Time and memory of a training step in float32, TF32 and bfloat16, beside the official code and the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.corpora import open_meld
from benchmarks.gpu.context import Context
from benchmarks.gpu.results import Row
from benchmarks.speed.step import Implementation, Measurement, Problem, measure, official, ours, problems
from rigsl.config import BACKBONES
from rigsl.device import cores, threads
from search.run_folder import ROOT
from search.space.space import read_space

SPACE = ROOT / "spaces" / "meld_open.toml"
#: `precision` -> its name.
ARITHMETIC = {"fp32": "float32", "tf32": "TF32", "bf16": "bfloat16"}


def rows(context: Context) -> Iterator[Row]:
    """Published configurations and the bundled one, then the other backbones in float32."""
    chosen = list(compared_problems(context))
    for problem in chosen:
        yield from _compare(problem, _implementations(problem, context), context)
    for problem in chosen[:2]:
        for backbone in BACKBONES:
            if context.quick or backbone == problem.config.backbone:
                continue
            if not context.seconds_left():
                yield Row(f"{problem.name}, {backbone}", note="not measured: no time was left")
                continue
            config = problem.config.replace(backbone=backbone)
            other = Problem(f"{problem.name}, {backbone}", problem.corpus, config)
            yield from _compare(other, [ours("float32", config, problem.corpus, context.device)], context)


def compared_problems(context: Context) -> Iterator[Problem]:
    """The published configurations and the bundled one; a small one, of a quick run."""
    if context.quick:
        problem = next(iter(problems(1)))
        small = problem.config.replace(hidden_dim=64, batch_size=4)
        yield Problem("MELD, width 64", problem.corpus, small)
        return
    for problem in problems(3):
        yield Problem(f"{problem.name}, published", problem.corpus, problem.config)
    space = read_space(SPACE)
    yield Problem("MELD, bundled features", open_meld(), space.config(space.starts[0], seed=0))


def _implementations(problem: Problem, context: Context) -> list[Implementation]:
    """Those that take turns on the device; the official one is the last."""
    names = ARITHMETIC if context.cuda else {"fp32": "float32"}
    implementations = [
        ours(name, problem.config.replace(precision=precision), problem.corpus, context.device)
        for precision, name in names.items()
    ]
    if context.official is not None and "v" in problem.config.modals:
        implementations.append(official(context.official, problem.config, problem.corpus, context.device))
    return implementations


def _compare(problem: Problem, implementations: list[Implementation], context: Context) -> Iterator[Row]:
    """A row for each implementation, and one for this project on the CPU of the same machine."""
    batches = len(implementations[0].batches(0))
    measured = measure(implementations, problem.corpus, context.device, rounds=context.choose(5, 1))
    reference = measured[-1] if implementations[-1].name == "official" else None
    for implementation, measurement in zip(implementations, measured, strict=True):
        yield _row(f"{problem.name}: {implementation.name}", problem, batches, measurement, reference)
    if context.cuda and "," in problem.name and problem.config.backbone == "M3Net":
        with threads(cores()):
            on_cpu = measure(
                [ours("float32", problem.config, problem.corpus, "cpu")], problem.corpus, "cpu", rounds=1
            )
        yield _row(f"{problem.name}: float32 on the CPU", problem, batches, on_cpu[0], reference)
        torch.cuda.empty_cache()


def _row(
    name: str, problem: Problem, batches: int, measurement: Measurement, reference: Measurement | None
) -> Row:
    utterances = int(problem.corpus.lengths[problem.corpus.dialogues("train")].sum())
    values = {
        "ms a step": f"{measurement.seconds * utterances / batches * 1e3:.1f}",
        "ms an utterance": f"{measurement.seconds * 1e3:.3f}",
        "peak MB": f"{measurement.peak / 1e6:,.0f}",
    }
    if reference is not None:
        values["x faster than official"] = f"{reference.seconds / measurement.seconds:.1f}"
    return Row(name, values)
