"""Measure learning curves of many configurations: ``python -m benchmarks.efficiency.curve_table``.

Random configurations of MELD's open space at half its widths, and the space's start points, are trained to
the last epoch; the best on validation are trained twice more with other seeds. Each finished training is
written to ``runs/curves`` at once: an interrupted command can be repeated and continues. The result is two
tables in ``benchmarks/curves``: validation scores with the cost of every epoch, and test scores of the best
model on validation so far. The test table is sealed: only the final comparison of methods reads it.
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
from benchmarks.speed.memory import reset_peak, resident_bytes
from rigsl.data.corpus import Corpus
from rigsl.data.source import load_corpus
from rigsl.files import replacing, write_text
from rigsl.training.evaluation import evaluate
from rigsl.training.trainer import Training, TrainingDiverged
from search.export.environment import commit, machine, versions
from search.run_folder import ROOT
from search.space.space import Space, read_space

TABLES = ROOT / "benchmarks" / "curves"
#: The space that the tables are about: MELD's open space when they were measured, on MELD-open 2.
SPACE = TABLES / "space.toml"
VALIDATION, SEALED = TABLES / "validation.parquet", TABLES / "test.parquet"
#: Folder of the finished trainings, one JSON file each.
TRAININGS = ROOT / "runs" / "curves"
#: The REPEATED best configurations are trained with SEEDS seeds each, the others with one.
SEEDS, REPEATED = 3, 18
#: Round r of ``benchmarks.efficiency.validate_surrogate`` numbers its configurations from r * ROUND on;
#: smaller numbers than ROUND are random configurations and start points.
ROUND = 1000
SAMPLING_SEED = 2025


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
    """The start points, then `count` random configurations of the whole conditional space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SAMPLING_SEED))
    return [*space.starts, *(space.suggest(study.ask()) for _ in range(count))]


@dataclasses.dataclass(frozen=True)
class CurveTraining:
    """One training to be measured: configuration `number` with `seed`."""

    number: int
    seed: int
    params: dict[str, Any]
    commit: str
    machine: str  #: processor or GPU, and the version of PyTorch

    @property
    def path(self) -> Path:
        """The file of its epochs."""
        return TRAININGS / f"{self.number:04d}-{self.seed}.json"


@cache
def meld() -> Corpus:
    """MELD with the open features."""
    return load_corpus("MELD", "open")


def train(job: CurveTraining, device: str) -> None:
    """Run `job` and write its epochs; a diverged training ends there."""
    torch.set_num_threads(1)
    config = small_space().config(job.params, seed=job.seed)
    before = _peak_memory(device, reset=True)
    epochs: list[dict[str, float]] = []
    training = Training(config, meld(), device=device)
    try:
        while not training.done:
            epochs.append(_epoch(training, device))
    except TrainingDiverged:
        epochs.append({"epoch": len(epochs) + 1, "weighted_f1": math.nan, "seconds": math.nan})
    write_training(job, _peak_memory(device) - before, epochs)


def write_training(job: CurveTraining, peak_bytes: int, epochs: list[dict[str, float]]) -> None:
    """Write the file of a finished training."""
    content = {
        "number": job.number, "seed": job.seed, "params": job.params,
        "commit": job.commit, "machine": job.machine,
    }  # fmt: skip
    write_text(job.path, json.dumps(content | {"peak_bytes": peak_bytes, "epochs": epochs}) + "\n")


def _epoch(training: Training, device: str) -> dict[str, float]:
    """Train and measure the next epoch. On the CPU, seconds are processor time: other load does not count."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    report = training.step()
    seconds = clock() - start
    row = {"epoch": report.epoch, "weighted_f1": report.validation.weighted_f1, "seconds": seconds}
    if report.improved:
        tested = evaluate(training.best_model(), training.corpus, "test", device=device)
        row["test_weighted_f1"] = tested.scores.weighted_f1
    return row


def _peak_memory(device: str, *, reset: bool = False) -> int:
    """Peak bytes of the process (on a GPU: of PyTorch's allocator) since the last reset."""
    if device != "cpu":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
            return 0
        return torch.cuda.max_memory_allocated(device)
    if reset:
        reset_peak()
    return resident_bytes("VmHWM")


def run(jobs: Sequence[CurveTraining], device: str, workers: int, title: str) -> None:
    """Run the jobs that are not finished, `workers` at a time."""
    unfinished = [job for job in jobs if not job.path.exists()]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    context = multiprocessing.get_context("spawn")
    with Progress(*columns) as progress, ProcessPoolExecutor(workers, context, os.nice, (19,)) as pool:
        task = progress.add_task(title, total=len(jobs), completed=len(jobs) - len(unfinished))
        try:
            for future in as_completed([pool.submit(train, job, device) for job in unfinished]):
                future.result()
                progress.advance(task)
        except BaseException:  # an interruption, too: start no further training
            pool.shutdown(cancel_futures=True)
            raise


def machine_in_words(device: str) -> str:
    """What seconds depend on: the processor, or the GPU, and the version of PyTorch."""
    here = machine(device, 1)
    return f"{here.get('gpu', here['processor'])}, torch {here['torch']}"


def finished_trainings() -> Iterator[dict[str, Any]]:
    """The content of the files in TRAININGS, by configuration and seed."""
    for path in sorted(TRAININGS.glob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def best_numbers() -> list[int]:
    """Numbers of the configurations whose first training has the best validation scores."""
    scores = {
        training["number"]: max(
            (epoch["weighted_f1"] for epoch in training["epochs"] if epoch["weighted_f1"] >= 0), default=-1.0
        )
        for training in finished_trainings()
        if training["seed"] == 0 and training["number"] < ROUND
    }
    return sorted(scores, key=lambda number: -scores[number])[:REPEATED]


def restore() -> None:
    """Write a file for each training of the committed tables that ``runs/curves`` lacks."""
    if not (VALIDATION.exists() and SEALED.exists()):
        return
    TRAININGS.mkdir(parents=True, exist_ok=True)
    keys, space = ["number", "seed", "epoch"], small_space()
    table = pd.read_parquet(VALIDATION).merge(pd.read_parquet(SEALED), on=keys)
    for (number, seed), rows in table.groupby(["number", "seed"]):
        params = read_params(rows.iloc[0].to_dict(), space)
        origin = (str(rows[name].iloc[0]) for name in ("commit", "machine"))
        job = CurveTraining(int(number), int(seed), params, *origin)
        if not job.path.exists():
            columns = ["epoch", "weighted_f1", "seconds", "test_weighted_f1"]
            epochs = rows.sort_values("epoch")[columns].to_dict("records")
            write_training(job, int(rows["peak_bytes"].iloc[0]), epochs)


def write_tables(command: str) -> None:
    """Write both tables from the finished trainings, with their provenance."""
    trainings, space = list(finished_trainings()), small_space()
    rows = [
        {name: training[name] for name in ("number", "seed", "commit", "machine", "peak_bytes")}
        | training["params"]
        | {
            name: epoch.get(name, math.nan)
            for name in ("epoch", "weighted_f1", "seconds", "test_weighted_f1")
        }
        for training in trainings
        for epoch in training["epochs"]
    ]
    table = pd.DataFrame(rows)
    table["test_weighted_f1"] = table.groupby(["number", "seed"])["test_weighted_f1"].ffill()
    provenance = {
        "what": "RIGSL on MELD-open 2, benchmarks/curves/space.toml at half its widths",
        "commands": sorted({*_recorded_commands(), command}),
        "commits": sorted({training["commit"] for training in trainings}),
        "space_hash": space.content_hash,
        "machines": sorted({training["machine"] for training in trainings}),
        "versions": versions(),
    }
    keys = ["number", "seed", "epoch"]
    _write(table.drop(columns="test_weighted_f1"), VALIDATION, provenance)
    _write(table[[*keys, "test_weighted_f1"]], SEALED, provenance)


def _recorded_commands() -> list[str]:
    """The commands that the existing table was made by."""
    if not VALIDATION.exists():
        return []
    provenance = json.loads((pq.read_schema(VALIDATION).metadata or {}).get(b"provenance", b"{}"))
    return list(provenance.get("commands", []))


def _write(table: pd.DataFrame, path: Path, provenance: dict[str, Any]) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata(
        {**(arrow.schema.metadata or {}), "provenance": json.dumps(provenance)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def main() -> None:
    """Run what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description="Measure learning curves of many configurations.")
    parser.add_argument(
        "--configurations", type=int, default=200, help="number of random configurations (default: 200)"
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="default: cuda if there is a GPU, else cpu",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="concurrent trainings (default: one per core)"
    )
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    TRAININGS.mkdir(parents=True, exist_ok=True)
    restore()
    drawn = configurations(small_space(), args.configurations)
    # Now: running workers keep the code that they started with.
    origin = commit(), machine_in_words(args.device)
    try:
        first = [CurveTraining(number, 0, params, *origin) for number, params in enumerate(drawn)]
        run(first, args.device, args.workers, "configurations")
        repeated = [
            CurveTraining(number, seed, drawn[number], *origin)
            for number in best_numbers()
            for seed in range(1, SEEDS)
        ]
        run(repeated, args.device, args.workers, "more seeds of the best")
    finally:  # also after an interruption: write the trainings that are finished
        write_tables(" ".join(["python -m benchmarks.efficiency.curve_table", *sys.argv[1:]]))
    written = " and ".join(str(path.relative_to(ROOT)) for path in (VALIDATION, SEALED))
    print(f"wrote {written}; next: python -m benchmarks.efficiency")


if __name__ == "__main__":
    main()
