"""The memory estimate against what CUDA's allocator measures, for the cases of benchmarks/speed/memory.py."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.results import Row
from benchmarks.speed.memory import MIB, Case, cases, measured_peak
from rigsl.memory import Shapes, estimate_peak_bytes

#: An estimate is within this share of the peak; see MARGIN in search/resources/workers.py.
TOLERANCE = 0.25
#: Of a quick run.
QUICK = {"one long dialogue"}


def rows(context: Context) -> Iterator[Row]:
    """A row for each case, as long as there is time."""
    for case in cases():
        if context.quick and case.name not in QUICK:
            continue
        if context.seconds_left():
            yield _row(case, context)
        else:
            yield Row(case.name, note="not measured: no time was left")


def _row(case: Case, context: Context) -> Row:
    corpus = case.corpus()
    estimated = estimate_peak_bytes(case.config, Shapes.of(corpus), device=context.device)
    before = _alive() if context.cuda else 0
    peak = measured_peak(case.config, corpus, context.device) - before
    reserved = torch.cuda.max_memory_reserved() if context.cuda else 0
    values = {"estimated": f"{estimated / MIB:,.0f}", "measured": f"{peak / MIB:,.0f}"}
    if reserved:
        values["reserved"] = f"{reserved / MIB:,.0f}"
    values["ratio"] = f"{estimated / peak:.2f}"
    note = "" if context.cuda else "stand-in: tensors on the CPU"
    return Row(case.name, values, abs(estimated / peak - 1) <= TOLERANCE, note)


def _alive() -> int:
    """Bytes of tensors that are still there before a measurement, without cuBLAS's workspaces."""
    gc.collect()
    torch.cuda.empty_cache()
    torch._C._cuda_clearCublasWorkspaces()
    return torch.cuda.memory_allocated()
