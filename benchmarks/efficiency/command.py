"""What a search finds per hour, against every other way: ``python -m benchmarks.efficiency``.

Studies are replayed in simulated time on curves that a surrogate predicts from the committed table: our
searcher, scheduler and race of finalists themselves, each rival of `rivals` as it is used, and ours with one
thing changed (`variants`). The result is a page, two tables for a README and a picture, in
``runs/efficiency``; with ``--methods``, a table of their differences to ours alone, in ``methods/`` of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy import stats

from benchmarks.efficiency import page as efficiency_page
from benchmarks.efficiency.ablations import VARIANTS
from benchmarks.efficiency.curve_table import FOUND, small_space
from benchmarks.efficiency.run_study import (
    BUDGETS,
    GRID,
    METHODS,
    OURS,
    Result,
    World,
    executor,
    results,
    test_table,
    validation_table,
)
from benchmarks.efficiency.summaries import (
    ABLATION_HEAD,
    HEAD,
    UNRACED,
    ablation_cells,
    cells,
    compare,
    markdown,
    unraced,
)
from benchmarks.efficiency.surrogate import (
    MODELS,
    Surrogate,
    Table,
    agreement,
    errors,
    folds,
    predictions,
)
from rigsl.files import write_text
from rigsl.wording import counted
from search.run_folder import ROOT
from search.space.space import Space

OUT = ROOT / "runs" / "efficiency"
FOLDS = 3
#: Of the studies, so many are played by ours with one thing changed.
VARIANTS_SHARE = 1 / 6
MAKERS = {**METHODS, **VARIANTS}


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="What a search finds per hour, against other ways.")
    parser.add_argument("--studies", type=int, default=30, help="of every method (default: 30)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first study (default: 0)")
    parser.add_argument("--workers", type=int, nargs="+", default=list(BUDGETS), choices=list(BUDGETS))
    parser.add_argument(
        "--methods", nargs="+", choices=[name for name in MAKERS if name != OURS], metavar="NAME",
        help="play these against ours, for a table of differences alone",
    )  # fmt: skip
    parser.add_argument("--surrogate", choices=MODELS, default=MODELS[0], help=f"default: {MODELS[0]}")
    parser.add_argument("--out", type=Path, help="folder of the results")
    args = parser.parse_args()
    if args.out is None:  # what --methods says must not stand beside another command's page
        args.out = OUT / "methods" if args.methods else OUT
    return args


def main() -> None:
    """Play all studies and write what they say."""
    args = options()
    console, begin = Console(highlight=False, soft_wrap=True), time.monotonic()
    space, table = small_space(), validation_table()
    with console.status("fitting the surrogates, and predicting what was left out"), executor() as processes:
        sealed = test_table()
        fitted = [processes.submit(Surrogate, space, one, args.surrogate) for one in (table, sealed)]
        trust = None if args.methods else trusted(processes, space, table, args.surrogate)
        world = World(space, *(one.result() for one in fitted))
    jobs = [
        (name, MAKERS[name], workers, args.first + number)
        for workers in args.workers
        for name, count in counts(args.studies, args.methods).items()
        for number in range(count)
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        played = list(progress.track(results(world, jobs), total=len(jobs), description="studies"))
    args.out.mkdir(parents=True, exist_ok=True)
    frame(played).to_parquet(args.out / "studies.parquet", compression="zstd")
    changed = args.methods or VARIANTS
    variants = {n: compare(_raced(_of(played, n, [OURS, *changed]))) for n in args.workers}
    text = {n: markdown(ABLATION_HEAD, ablation_cells(variants[n])) for n in args.workers}
    if trust is not None:
        rivals = {n: _of(played, n, METHODS) for n in args.workers}
        shown = efficiency_page.Material(
            rivals={n: compare(found) for n, found in rivals.items()},
            variants=variants,
            curves=rivals,
            trust=trust | agreement(table, sealed),
            studies=args.studies,
            surrogate=args.surrogate,
            trainings=len(table.numbers),
            hours={n: BUDGETS[n] * world.training_seconds / 3600 for n in args.workers},
        )
        efficiency_page.write(args.out, shown)
        text = {n: f"{markdown(HEAD, cells(shown.rivals[n]))}\n\n{text[n]}" for n in args.workers}
    tables = "\n\n".join(f"**{counted(n, 'worker')}**\n\n{part}" for n, part in text.items())
    write_text(args.out / "tables.md", tables + "\n")
    print(tables)
    console.print(f"\n{len(jobs)} studies in {(time.monotonic() - begin) / 60:.0f} min")
    if trust is None:
        console.print(f"{_shown(args.out / 'tables.md')}: the tables; studies.parquet: every study")
    else:
        console.print(f"how far to trust them: {dict(shown.trust)}")
        page = "the page; tables.md and efficiency.png: for a README"
        console.print(f"{_shown(args.out / 'report.html')}: {page}")


def counts(studies: int, methods: Sequence[str] | None) -> dict[str, int]:
    """Method -> how many studies it plays: as many as ours where `methods` are asked for; else rivals as
    many, and ours with one thing changed a share of them."""
    if methods:
        return dict.fromkeys((OURS, *methods), studies)
    few = math.ceil(studies * VARIANTS_SHARE)
    return dict.fromkeys(METHODS, studies) | dict.fromkeys(VARIANTS, few)


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _of(played: list[Result], workers: int, names: Iterable[str]) -> dict[str, list[Result]]:
    here = [one for one in played if one.workers == workers]
    return {name: [one for one in here if one.method == name] for name in names}


def _raced(found: Mapping[str, list[Result]]) -> dict[str, list[Result]]:
    return {**found, UNRACED: unraced(found[OURS])}


def frame(played: list[Result]) -> pd.DataFrame:
    """One row a study; the best scores at GRID's times as a list."""
    return pd.DataFrame(
        [dataclasses.asdict(one) | {"best": one.best.tolist(), "times": GRID.tolist()} for one in played]
    )


def trusted(processes: Executor, space: Space, table: Table, model: str) -> dict[str, float]:
    """How far the surrogate is to be trusted: on configurations left out, and on what searches had found.

    found_*: of the real trainings of the last ``benchmarks.efficiency.validate_surrogate``: how many, their
    mean best score, what a surrogate without them predicts, the rank correlation of the two.
    """
    random = table.part(np.flatnonzero(table.numbers < FOUND))
    pairs = list(folds(random, FOLDS))
    if (last := table.numbers.max() // FOUND) > 0:
        is_last = table.numbers >= last * FOUND
        pairs.append((table.part(np.flatnonzero(~is_last)), table.part(np.flatnonzero(is_last))))
    kept, left = zip(*pairs, strict=True)
    frames = list(processes.map(predictions, repeat(space), kept, left, repeat(model)))
    known = errors(pd.concat(frames[:FOLDS]))
    for found in frames[FOLDS:]:
        known |= {
            "found": float(len(found)),
            "found_mean": float(found["best"].mean()),
            "found_predicted": float(found["best_predicted"].mean()),
            "found_rank": float(stats.spearmanr(found["best"], found["best_predicted"]).statistic),
        }
    return {name: round(value, 4) for name, value in known.items()}
