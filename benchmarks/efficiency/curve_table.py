"""Learning curves of many configurations: ``python -m benchmarks.efficiency.curve_table``.

Random configurations of MELD's open space at half its widths, and the space's start points, are trained to
the end; then the best on validation twice more with other seeds. Every finished training is kept at once
under ``runs/curves``: an interrupted command goes on where it was. What is there becomes two tables in
``benchmarks/curves``: scores on validation with the cost of every epoch, and, sealed in a file of its own,
the test scores of the model that was the best on validation so far. Only a final comparison opens that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.efficiency.surrogate import read_params
from benchmarks.speed.memory import forget_peak, resident
from rigsl.data.corpus import Corpus
from rigsl.data.source import load_corpus
from rigsl.files import replacing, write_text
from rigsl.training.evaluation import evaluate
from rigsl.training.trainer import Training, TrainingDiverged
from search.export.environment import commit, machine, versions
from search.run_folder import ROOT
from search.space.space import Space, read_space

SPACE = ROOT / "spaces" / "meld_open.toml"
TABLES = ROOT / "benchmarks" / "curves"
VALIDATION, SEALED = TABLES / "validation.parquet", TABLES / "test.parquet"
PARTS = ROOT / "runs" / "curves"
#: Trainings of one configuration, of the best ones; and how many those are.
SEEDS, BEST = 3, 30
#: Configurations from this number on come from ``benchmarks.efficiency.validate_surrogate``.
FOUND = 1000
SEED_OF_DRAWS = 2025


def small_space() -> Space:
    """MELD's open space at half its widths."""
    space = read_space(SPACE)
    width = space.parameters["hidden_dim"]
    halves = tuple(value // 2 for value in width.values)
    return dataclasses.replace(
        space,
        parameters={**space.parameters, "hidden_dim": dataclasses.replace(width, values=halves)},
        starts=tuple(start | {"hidden_dim": start["hidden_dim"] // 2} for start in space.starts),
    )


def configurations(space: Space, count: int) -> list[dict[str, Any]]:
    """The start points, then `count` random draws over the whole conditional space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED_OF_DRAWS))
    return [*space.starts, *(space.suggest(study.ask()) for _ in range(count))]


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: configuration `number` with `seed`."""

    number: int
    seed: int
    params: dict[str, Any]
    commit: str

    @property
    def path(self) -> Path:
        """Where its epochs are kept."""
        return PARTS / f"{self.number:04d}-{self.seed}.json"


@cache
def meld() -> Corpus:
    """MELD with the open features."""
    return load_corpus("MELD", "open")


def train(job: Job, device: str) -> None:
    """Train `job` and keep its epochs; what diverges ends there."""
    torch.set_num_threads(1)
    config = small_space().config(job.params, seed=job.seed)
    before = _memory(device, reset=True)
    epochs: list[dict[str, float]] = []
    training = Training(config, meld(), device=device)
    try:
        while not training.done:
            epochs.append(_epoch(training, device))
    except TrainingDiverged:
        epochs.append({"epoch": len(epochs) + 1, "weighted_f1": math.nan, "seconds": math.nan})
    _keep(job, _memory(device) - before, epochs)


def _keep(job: Job, peak_bytes: int, epochs: list[dict[str, float]]) -> None:
    kept = {"number": job.number, "seed": job.seed, "params": job.params, "commit": job.commit}
    write_text(job.path, json.dumps(kept | {"peak_bytes": peak_bytes, "epochs": epochs}) + "\n")


def _epoch(training: Training, device: str) -> dict[str, float]:
    """The next epoch. Seconds are those of one processor core: other work on the machine does not count."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    report = training.step()
    seconds = clock() - start
    found = {"epoch": report.epoch, "weighted_f1": report.validation.weighted_f1, "seconds": seconds}
    if report.improved:
        tested = evaluate(training.best_model(), training.corpus, "test", device=device)
        found["test_weighted_f1"] = tested.scores.weighted_f1
    return found


def _memory(device: str, *, reset: bool = False) -> int:
    """Most bytes that the process (on a GPU: PyTorch) held, since the last reset."""
    if device != "cpu":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
            return 0
        return torch.cuda.max_memory_allocated(device)
    if reset:
        forget_peak()
    return resident("VmHWM")


def run(jobs: Sequence[Job], device: str, workers: int, title: str) -> None:
    """Train what is not there yet, on all cores."""
    left = [job for job in jobs if not job.path.exists()]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    context = multiprocessing.get_context("spawn")
    with Progress(*columns) as progress, ProcessPoolExecutor(workers, context, os.nice, (19,)) as pool:
        task = progress.add_task(title, total=len(jobs), completed=len(jobs) - len(left))
        try:
            for done in as_completed([pool.submit(train, job, device) for job in left]):
                done.result()
                progress.advance(task)
        except BaseException:  # an interruption: what has not begun does not begin
            pool.shutdown(cancel_futures=True)
            raise


def parts() -> Iterator[dict[str, Any]]:
    """What is kept so far, by configuration and seed."""
    for path in sorted(PARTS.glob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def best_numbers() -> list[int]:
    """The configurations with the best first training on validation."""
    scores = {
        part["number"]: max((e["weighted_f1"] for e in part["epochs"] if e["weighted_f1"] >= 0), default=-1.0)
        for part in parts()
        if part["seed"] == 0 and part["number"] < FOUND
    }
    return sorted(scores, key=lambda number: -scores[number])[:BEST]


def restore() -> None:
    """Make parts of what the tables hold and ``runs/curves`` does not."""
    if not (VALIDATION.exists() and SEALED.exists()):
        return
    PARTS.mkdir(parents=True, exist_ok=True)
    keys, space = ["number", "seed", "epoch"], small_space()
    table = pd.read_parquet(VALIDATION).merge(pd.read_parquet(SEALED), on=keys)
    for (number, seed), rows in table.groupby(["number", "seed"]):
        params = read_params(rows.iloc[0].to_dict(), space)
        job = Job(int(number), int(seed), params, str(rows["commit"].iloc[0]))
        if not job.path.exists():
            names = ["epoch", "weighted_f1", "seconds", "test_weighted_f1"]
            _keep(job, int(rows["peak_bytes"].iloc[0]), rows.sort_values("epoch")[names].to_dict("records"))


def write_tables(command: str, device: str) -> None:
    """Both tables of what is kept, with where they come from."""
    kept, space = list(parts()), small_space()
    rows = [
        {name: part[name] for name in ("number", "seed", "commit", "peak_bytes")}
        | part["params"]
        | {
            name: epoch.get(name, math.nan)
            for name in ("epoch", "weighted_f1", "seconds", "test_weighted_f1")
        }
        for part in kept
        for epoch in part["epochs"]
    ]
    table = pd.DataFrame(rows)
    table["test_weighted_f1"] = table.groupby(["number", "seed"])["test_weighted_f1"].ffill()
    provenance = {
        "what": "RIGSL on MELD's open features, spaces/meld_open.toml at half its widths",
        "commands": sorted({*_commands(), command}),
        "commits": sorted({part["commit"] for part in kept}),
        "space_hash": space.content_hash,
        "machine": machine(device, 1),
        "versions": versions(),
    }
    keys = ["number", "seed", "epoch"]
    _write(table.drop(columns="test_weighted_f1"), VALIDATION, provenance)
    _write(table[[*keys, "test_weighted_f1"]], SEALED, provenance)


def _commands() -> list[str]:
    """Those that have made the tables so far."""
    if not VALIDATION.exists():
        return []
    before = json.loads((pq.read_schema(VALIDATION).metadata or {}).get(b"provenance", b"{}"))
    return list(before.get("commands", []))


def _write(table: pd.DataFrame, path: Path, provenance: dict[str, Any]) -> None:
    made = pa.Table.from_pandas(table, preserve_index=False)
    made = made.replace_schema_metadata(
        {**(made.schema.metadata or {}), "provenance": json.dumps(provenance)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pq.write_table(made, temporary, compression="zstd")


def main() -> None:
    """Train what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description="Learning curves of many configurations, as two tables.")
    parser.add_argument("--configurations", type=int, default=300, help="random ones (default: 300)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="default: one a core")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    PARTS.mkdir(parents=True, exist_ok=True)
    restore()
    drawn = configurations(small_space(), args.configurations)
    code = commit()  # now: a worker keeps the code that it began with
    try:
        first = [Job(number, 0, one, code) for number, one in enumerate(drawn)]
        run(first, args.device, args.workers, "configurations")
        best = [
            Job(number, seed, drawn[number], code) for number in best_numbers() for seed in range(1, SEEDS)
        ]
        run(best, args.device, args.workers, "seeds of the best")
    finally:  # what there is, whatever ended it
        write_tables(" ".join(["python -m benchmarks.efficiency.curve_table", *sys.argv[1:]]), args.device)
    made = " and ".join(str(path.relative_to(ROOT)) for path in (VALIDATION, SEALED))
    print(f"{made}: next, python -m benchmarks.efficiency")


if __name__ == "__main__":
    main()
