"""Compare search methods by the best score per hour: ``python -m benchmarks.efficiency``.

Studies run in simulated time (`simulator`) on learning curves that a surrogate model predicts (`surrogate`).
The methods are the search of run_search.py with its race of finalists (ours), the baselines (`baselines`),
and ours with one component changed (`ablations`; `freeze_thaw` by ``--methods`` alone). The results go to
``runs/efficiency``: a page, the tables as Markdown, a picture, and every study. With ``--methods`` only the
table of ablations is written, to ``runs/efficiency/methods``.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy import stats

from benchmarks.efficiency import handed_over, page
from benchmarks.efficiency.ablations import ABLATIONS
from benchmarks.efficiency.curve_table import ROUND, small_space
from benchmarks.efficiency.freeze_thaw import FREEZE_THAW
from benchmarks.efficiency.run_study import (
    BUDGETS,
    GRID,
    METHODS,
    OURS,
    StudyResult,
    SurrogateBenchmark,
    process_pool,
    run_studies,
    test_table,
    validation_table,
)
from benchmarks.efficiency.summaries import (
    ABLATION_HEAD,
    BASELINE_HEAD,
    WITHOUT_RACING,
    ablation_cells,
    baseline_cells,
    compare_methods,
    without_racing,
)
from benchmarks.efficiency.surrogate import (
    MODELS,
    CurveTable,
    Surrogate,
    agreement,
    folds,
    prediction_errors,
    predictions,
)
from benchmarks.markdown import markdown
from rigsl.files import write_text
from rigsl.wording import counted
from search.run_folder import ROOT
from search.space.space import Space

OUT = ROOT / "runs" / "efficiency"
FOLDS = 3
#: Ablations run this share of the studies.
ABLATIONS_SHARE = 1 / 6
FACTORIES = {**METHODS, **ABLATIONS, **FREEZE_THAW}


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.efficiency",
        description="Compare search methods by the best score per hour, in simulated time on learning curves "
        "that a surrogate model predicts.",
    )
    parser.add_argument("--studies", type=int, default=30, help="studies per method (default: 30)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first study (default: 0)")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=list(BUDGETS), choices=list(BUDGETS),
        help="numbers of concurrent trials to compare with (default: both)",
    )  # fmt: skip
    parser.add_argument(
        "--methods", nargs="+", choices=[name for name in FACTORIES if name != OURS], metavar="NAME",
        help="compare only these baselines or ablations with ours, in one table of differences; "
        "names as in the tables",
    )  # fmt: skip
    parser.add_argument(
        "--surrogate", choices=MODELS, default=MODELS[0], help=f"surrogate model (default: {MODELS[0]})"
    )
    parser.add_argument(
        "--out", type=Path,
        help="folder of the results (default: runs/efficiency; with --methods: runs/efficiency/methods)",
    )  # fmt: skip
    args = parser.parse_args()
    if args.out is None:  # the results of --methods must not overwrite those of the whole comparison
        args.out = OUT / "methods" if args.methods else OUT
    return args


def main() -> None:
    """Run all studies and write the results."""
    args = options()
    console, start = Console(highlight=False, soft_wrap=True), time.monotonic()
    space, table = small_space(), validation_table()
    with console.status("fitting and cross-validating the surrogates"), process_pool() as pool:
        sealed = test_table()
        fits = [pool.submit(Surrogate, space, curves, args.surrogate) for curves in (table, sealed)]
        errors = None if args.methods else surrogate_errors(pool, space, table, args.surrogate)
        benchmark = SurrogateBenchmark(space, *(fit.result() for fit in fits))
    jobs = [
        (name, FACTORIES[name], workers, args.first + number)
        for workers in args.workers
        for name, count in study_counts(args.studies, args.methods).items()
        for number in range(count)
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        results = run_studies(benchmark, jobs)
        studies = list(progress.track(results, total=len(jobs), description="studies"))
    args.out.mkdir(parents=True, exist_ok=True)
    frame(studies).to_parquet(args.out / "studies.parquet", compression="zstd")
    if errors is not None:
        errors |= agreement(table, sealed)
    tables = write_results(args, studies, benchmark, errors)
    print(tables)
    console.print(f"\n{counted(len(jobs), 'study', 'studies')} in {(time.monotonic() - start) / 60:.0f} min")
    if errors is None:
        console.print(f"{_relative(args.out / 'tables.md')}: the tables; studies.parquet: every study")
    else:
        console.print(f"errors of the surrogate: {errors}")
        others = "tables.md: the tables; efficiency.png: the picture; studies.parquet: every study"
        console.print(f"{_relative(args.out / 'report.html')}: the page; {others}")


def write_results(
    args: argparse.Namespace,
    studies: list[StudyResult],
    benchmark: SurrogateBenchmark,
    errors: dict[str, float] | None,
) -> str:
    """Write and return the tables; with the surrogate's `errors`, also write the page and the picture."""
    changed = args.methods or ABLATIONS
    ablations = {
        workers: compare_methods(_with_full_finals(_select(studies, workers, [OURS, *changed])))
        for workers in args.workers
    }
    tables = {
        workers: markdown(ABLATION_HEAD, ablation_cells(comparison))
        for workers, comparison in ablations.items()
    }
    if errors is not None:
        by_method = {workers: _select(studies, workers, METHODS) for workers in args.workers}
        data = page.PageData(
            baselines={workers: compare_methods(results) for workers, results in by_method.items()},
            ablations=ablations,
            studies=by_method,
            surrogate_errors=errors,
            study_count=args.studies,
            surrogate=args.surrogate,
            trainings=len(benchmark.validation.table.numbers),
            hours={n: BUDGETS[n] * benchmark.training_seconds / 3600 for n in args.workers},
            handed_over=handed_over.cells(pd.read_parquet(handed_over.TABLE)),
        )
        page.write(args.out, data)
        for workers, comparison in data.baselines.items():
            baselines = markdown(BASELINE_HEAD, baseline_cells(comparison))
            tables[workers] = f"{baselines}\n\n{tables[workers]}"
    text = "\n\n".join(f"**{counted(n, 'worker')}**\n\n{part}" for n, part in tables.items())
    if errors is not None:
        text = f"**Trained for real**\n\n{handed_over.committed_table()}\n\n{text}"
    write_text(args.out / "tables.md", text + "\n")
    return text


def study_counts(studies: int, methods: Sequence[str] | None) -> dict[str, int]:
    """Method -> number of its studies: `studies` for ours, the baselines and any of `methods`.

    Without `methods`, each ablation runs ABLATIONS_SHARE of them.
    """
    if methods:
        return dict.fromkeys((OURS, *methods), studies)
    ablation_studies = math.ceil(studies * ABLATIONS_SHARE)
    return dict.fromkeys(METHODS, studies) | dict.fromkeys(ABLATIONS, ablation_studies)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _select(studies: list[StudyResult], workers: int, names: Iterable[str]) -> dict[str, list[StudyResult]]:
    """Method -> its studies with this number of workers."""
    chosen = [study for study in studies if study.workers == workers]
    return {name: [study for study in chosen if study.method == name] for name in names}


def _with_full_finals(studies: dict[str, list[StudyResult]]) -> dict[str, list[StudyResult]]:
    return {**studies, WITHOUT_RACING: without_racing(studies[OURS])}


def frame(studies: list[StudyResult]) -> pd.DataFrame:
    """One row per study; the best scores at GRID's times are a list."""
    return pd.DataFrame(
        [
            dataclasses.asdict(study) | {"best": study.best.tolist(), "times": GRID.tolist()}
            for study in studies
        ]
    )


def surrogate_errors(pool: Executor, space: Space, table: CurveTable, model: str) -> dict[str, float]:
    """Errors of the surrogate: in cross-validation, and on the best configurations of searches.

    validated_*: the configurations of the last round of ``benchmarks.efficiency.validate_surrogate``: their
    number, their mean best score in real trainings, the mean that a surrogate fitted without them predicts,
    and the rank correlation of the two.
    """
    random = table.part(np.flatnonzero(table.numbers < ROUND))
    pairs = list(folds(random, FOLDS))
    if (last := table.numbers.max() // ROUND) > 0:
        in_last = table.numbers >= last * ROUND
        pairs.append((table.part(np.flatnonzero(~in_last)), table.part(np.flatnonzero(in_last))))
    train, held_out = zip(*pairs, strict=True)
    frames = list(pool.map(predictions, repeat(space), train, held_out, repeat(model)))
    errors = prediction_errors(pd.concat(frames[:FOLDS]))
    for validated in frames[FOLDS:]:
        correlation = stats.spearmanr(validated["best"], validated["best_predicted"]).statistic
        errors |= {
            "validated": float(len(validated)),
            "validated_mean": float(validated["best"].mean()),
            "validated_predicted": float(validated["best_predicted"].mean()),
            "validated_rank_correlation": float(correlation),
        }
    return {name: round(value, 4) for name, value in errors.items()}
