"""How much of a training step the GPU computes, and how much it waits for the next kernel to be launched.

The ratio of the two bounds what CUDA graphs, compiled kernels or several trainings in one process can bring.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.context import Context
from benchmarks.gpu.results import Row
from benchmarks.gpu.speed import compared_problems
from benchmarks.speed.step import Batches, Problem, Step, ours, seconds_of
from rigsl.errors import first_line

#: Steps before the profiled ones.
WARM_UP = 2


def rows(context: Context) -> Iterator[Row]:
    """The configurations of the part `speed` in float32; then the first of them compiled."""
    chosen = list(compared_problems(context))
    for problem in chosen:
        implementation = ours("float32", problem.config, problem.corpus, context.device)
        yield _row(problem.name, implementation.build(), implementation.batches(0), context)
    if context.cuda and context.seconds_left():
        yield _compiled(chosen[0], context)


def _row(name: str, step: Step, batches: Batches, context: Context) -> Row:
    for batch in batches[:WARM_UP]:
        step(batch)
    seconds = seconds_of(step, batches, context.device)
    activities = [ProfilerActivity.CUDA] if context.cuda else [ProfilerActivity.CPU]
    with profile(activities=activities) as profiled:
        seconds_of(step, batches, context.device)
    count = len(batches)
    wall = 1e3 * seconds / count
    if not context.cuda:
        operators = sum(event.count for event in profiled.key_averages())
        values = {"ms a step": f"{wall:.1f}", "operators a step": f"{operators / count:,.0f}"}
        return Row(name, values, note="stand-in: operators of the CPU")
    kernels = [event for event in profiled.key_averages() if str(event.device_type).endswith("CUDA")]
    busy = sum(event.self_device_time_total for event in kernels) / 1e3 / count
    values = {
        "ms a step": f"{wall:.1f}",
        "kernels a step": f"{sum(event.count for event in kernels) / count:,.0f}",
        "GPU busy, ms a step": f"{busy:.1f}",
        "a step / GPU busy": f"{wall / busy:.1f}",
    }
    return Row(name, values)


def _compiled(problem: Problem, context: Context) -> Row:
    """The model compiled by ``torch.compile`` for all lengths: the time until it is, and of a step then."""
    name = f"{problem.name}: torch.compile"
    implementation = ours("compiled", problem.config, problem.corpus, context.device, compiled=True)
    step, batches = implementation.build(), implementation.batches(0)
    try:
        first, again = (seconds_of(step, batches, context.device) for _ in range(2))
    except Exception as error:
        return Row(name, note=f"not possible: {type(error).__name__}: {first_line(error)}")
    finally:
        torch.compiler.reset()
    note = f"the first {len(batches)} steps, with compilation, take {first:.0f} s"
    return Row(name, {"ms a step": f"{1e3 * again / len(batches):.1f}"}, note=note)
