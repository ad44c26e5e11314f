"""docs/gpu.md: the rows of all parts as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gpu.results import PartResult, Row
from rigsl.wording import counted

#: Part -> heading and what it measures. The order of the page, and of a run.
PARTS = {
    "parity": ("Numbers", "The same numbers as the official code, as the CPU, and as themselves."),
    "speed": ("A training step", "Forward, backward, optimiser, and the construction of the batch; the "
              "implementations take turns, and a time is the median over rounds."),
    "kernels": ("Kernels", "What the GPU computes of a step, by PyTorch's profiler, and what it waits; the "
                "last column bounds what fewer or faster launches can bring."),
    "memory": ("The memory estimate", "Estimated and measured peaks of a training, in MiB. An estimate "
               "should be within a quarter of the peak."),
    "packing": ("Concurrent trials", "Trainings of the published MELD configuration at the same time on one "
                "device."),
    "study": ("A search that is killed", "A search with the bundled features: killed, resumed, confirmed, "
              "tested, exported and trained again."),
    "faults": ("Faults", "A search with system metrics, in which trials run out of memory or break their "
               "GPU."),
}  # fmt: skip
OK = {True: "yes", False: "**no**", None: ""}


def render(parts: Mapping[str, PartResult]) -> str:
    """The page in Markdown."""
    machines = {_machine(part.machine) for part in parts.values()}
    lines = ["# On a GPU", "", "Measured with `make gpu`, which writes this page.", ""]
    if len(machines) == 1:
        lines += [machines.pop(), ""]
    for name, (heading, about) in PARTS.items():
        if name in parts:
            lines += [f"## {heading}", "", about, ""]
            if machines:  # they differ
                lines += [_machine(parts[name].machine), ""]
            lines += [*_table(parts[name].rows), _ending(parts[name]), ""]
    return "\n".join(lines)


def _machine(machine: Mapping[str, Any]) -> str:
    """``NVIDIA H100 80GB HBM3; AMD EPYC, 16 cores; torch 2.13.0``."""
    gpu = f"{machine['gpu']}; " if "gpu" in machine else "without a GPU; "
    text = f"{gpu}{machine['processor']}, {machine['cores']} cores; torch {machine['torch']}"
    versions = [f"{name} {machine[name]}" for name in ("cuda", "cudnn", "driver") if machine.get(name)]
    return "; ".join([text, *versions, f"commit {str(machine['commit'])[:12]}"]) + "."


def _table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    columns = list(dict.fromkeys(column for row in rows for column in row.values))
    checked = any(row.ok is not None for row in rows)
    noted = any(row.note for row in rows)
    head = ["", *columns, *(["met"] if checked else []), *(["note"] if noted else [])]
    rule = ["---", *("--:" for _ in columns), *(["---"] if checked else []), *(["---"] if noted else [])]
    lines = [_line(head), _line(rule)]
    for row in rows:
        cells = [row.name, *(row.values.get(column, "") for column in columns)]
        cells += [OK[row.ok]] if checked else []
        cells += [row.note] if noted else []
        lines.append(_line(cells))
    return [*lines, ""]


def _line(cells: Sequence[str]) -> str:
    """A line of a table; what would end a cell or the line is replaced."""
    return "| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in cells) + " |"


def _ending(part: PartResult) -> str:
    if part.failure:
        return f"failed: {part.failure}"
    if part.seconds is None:
        return f"cut off after {counted(len(part.rows), 'row')}: the run ended before this part did."
    return f"{part.seconds:.0f} s."
