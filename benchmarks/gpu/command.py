"""The command line: run the parts one after the other; each row is written as soon as it is measured."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.gpu.context import GOLDEN, Context
from benchmarks.gpu.page import PARTS, render
from benchmarks.gpu.results import Results, Row
from rigsl.cli.arguments import Parser
from rigsl.device import cores, resolve_device
from rigsl.errors import UserError, error_line, first_line
from rigsl.files import write_text
from search.export.environment import commit, machine
from search.run_folder import ROOT

#: A part's rows, measured one by one.
Part = Callable[[Context], Iterator[Row]]
#: Part -> seconds after which it measures nothing more; together less than nine minutes.
SECONDS = {
    "parity": 60, "speed": 80, "kernels": 30, "memory": 45, "packing": 55, "study": 200, "faults": 65,
}  # fmt: skip
#: The same on the CPU, where nobody waits for a GPU: as a multiple.
CPU_PATIENCE = 6


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The parsed command line."""
    parser = Parser(prog="python -m benchmarks.gpu", description="Prove a machine's GPU, in nine minutes.")
    parser.add_argument(
        "--parts", default=",".join(PARTS), metavar="NAMES", help="which, separated by commas (default: all)"
    )
    parser.add_argument(
        "--device",
        default="cuda",
        choices=("cuda", "cpu"),
        help="cuda (the default), or cpu: stand-ins for what needs a GPU",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller measurements")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help="limit of each part (default: its own limit; together less than nine minutes)",
    )
    parser.add_argument(
        "--official", type=Path, metavar="CLONE", help="folder of a clone of the official code"
    )
    parser.add_argument(
        "--golden", type=Path, default=GOLDEN, metavar="DIR", help="folder of the recorded numbers"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "docs" / "gpu.md",
        metavar="FILE",
        help="page (default: docs/gpu.md)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "runs" / "gpu.jsonl",
        metavar="FILE",
        help="all rows, one JSON line each; parts of an earlier run in it stay on the page "
        "(default: runs/gpu.jsonl)",
    )
    chosen = parser.parse_args(arguments)
    chosen.parts = [name for name in chosen.parts.split(",") if name]
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; 1: one of them failed, or a check was not met; 2: a mistake in the command."""
    try:
        chosen = options(arguments)
        _check(chosen)
    except UserError as error:
        print(error_line(error), file=sys.stderr)
        return 2
    results, console = Results(chosen.results), Console()
    for name in chosen.parts:
        run_part(name, _part(name), chosen, results, console)
    failed = [name for name, part in results.read().items() if name in chosen.parts and part.failed]
    console.print(f"written: {chosen.out}")
    if failed:
        console.print(f"not as it should be: {', '.join(failed)}")
    return 1 if failed else 0


def run_part(name: str, part: Part, chosen: argparse.Namespace, results: Results, console: Console) -> None:
    """Run one part; an error ends it, and is recorded."""
    console.rule(name)
    start = time.monotonic()
    results.begin(name, _machine(chosen.device))
    failure = trace = ""
    with tempfile.TemporaryDirectory(prefix=f"gpu-{name}-", ignore_cleanup_errors=True) as scratch:
        seconds = chosen.seconds or SECONDS[name] * (CPU_PATIENCE if chosen.device == "cpu" else 1)
        context = Context(
            chosen.device, chosen.quick, Path(scratch), start + seconds, chosen.official, chosen.golden
        )
        try:
            for row in part(context):
                results.add(name, row)
                console.print(_shown(row), soft_wrap=True, markup=False, highlight=False)
                write_text(chosen.out, render(results.read()))
        except Exception as error:
            failure, trace = f"{type(error).__name__}: {first_line(error)}", traceback.format_exc()
            console.print(f"failed: {failure}", markup=False)
    results.end(name, time.monotonic() - start, failure, trace)
    write_text(chosen.out, render(results.read()))
    gc.collect()
    if chosen.device != "cpu":
        with contextlib.suppress(RuntimeError):  # of a GPU context that the part has broken
            torch.cuda.empty_cache()  # the processes of the next part need the memory


def _check(chosen: argparse.Namespace) -> None:
    """Check the options.

    Raises:
        UserError: one of them is wrong; nothing has been written.
    """
    unknown = [name for name in chosen.parts if name not in PARTS]
    if unknown or not chosen.parts:
        raise UserError(f"--parts {','.join(unknown)}: there is no such part; choose from {', '.join(PARTS)}")
    if chosen.seconds is not None and not 0 < chosen.seconds < math.inf:
        raise UserError(f"--seconds {chosen.seconds:g}: give a number above 0")
    resolve_device(chosen.device)
    if chosen.official is not None and not (chosen.official / "model.py").is_file():
        raise UserError(f"--official {chosen.official}: has no model.py; name the folder of a clone")


def _part(name: str) -> Part:
    """Imported when it is run: a part may need what another one does not."""
    rows: Part = importlib.import_module(f"benchmarks.gpu.{name}").rows
    return rows


def _machine(device: str) -> Mapping[str, Any]:
    """Where a part is measured."""
    content = machine(device, torch.get_num_threads()) | {"cores": cores(), "commit": commit()}
    if device != "cpu":
        content |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return content


def _shown(row: Row) -> str:
    """A row on the terminal."""
    met = {True: "ok  ", False: "NO  ", None: "    "}[row.ok]
    values = "  ".join(f"{column} {value}" for column, value in row.values.items())
    return f"{met}{row.name}  {values}  {row.note}".rstrip()
