"""Train for real what searches hand over: ``python -m benchmarks.efficiency.handed_over``.

Searches run in simulated time, as in ``python -m benchmarks.efficiency``, at equal hours. What comes after is
real. A baseline hands over the configuration of its best trial. Ours stops earlier, and its finals have the
rest of the time: finalists are trained on folds of train, then there are three answers: the *configuration*
that wins, the same *taught* by what the finalists predict out of fold, and the *average* of their trainings.

Every training is written to ``runs/handed_over`` when it ends: the command can be interrupted and repeated.
No training sees the labels of test; the last step opens test, once for all, and writes the committed table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.efficiency.curve_table import TABLES, VALIDATION, meld, small_space
from benchmarks.efficiency.real_trainings import FOLDS, RealTraining, corpus, f1, read, run, tested_rows
from benchmarks.efficiency.run_study import (
    BUDGETS,
    METHODS,
    OURS,
    SurrogateBenchmark,
    run_searches,
    validation_table,
)
from benchmarks.efficiency.summaries import interval, interval_text
from benchmarks.efficiency.surrogate import Surrogate
from benchmarks.holm import holm
from benchmarks.markdown import markdown
from rigsl.files import read_json, replacing, sha256, write_text
from rigsl.training.teacher import Teacher
from search.confirm.race import HALVING, MIN_CONTENDERS, Finalist, Race
from search.confirm.trainings import Block, Job, JobChain, JobList, Queue, make_job, make_taught_job
from search.confirm.wilcoxon import wilcoxon
from search.run_folder import ROOT
from search.space.confirmation import FinalOptions
from search.space.final_seeds import final_seeds
from search.space.space import Space

TABLE = TABLES / "handed_over.parquet"
TRAININGS = ROOT / "runs" / "handed_over"
#: What is compared with ours, and what the differences are to.
OTHERS = ("random", "OptunaSearch + ASHA (Ray)", "TPE + Hyperband, as BOHB (Optuna)", "DEHB")
REFERENCES = ("OptunaSearch + ASHA (Ray)", "random")
BEST_TRIAL, CONFIGURATION, TAUGHT, AVERAGE = "best trial", "configuration", "taught", "average"
#: Fresh seeds that the score of a configuration is the mean of; the average has none.
FINAL = FinalOptions(finalists=8, finalist_seeds=FOLDS, folds=FOLDS, test_seeds=2)


@dataclass
class HandedOver:
    """What one study hands over: its jobs are those of `queue`, and afterwards the answers have trainings.

    answers: name -> jobs; the scores of an answer's jobs are averaged, or the probabilities of AVERAGE's.
    """

    method: str
    workers: int
    seed: int
    queue: Queue
    answers: dict[str, Sequence[Job]] = field(default_factory=dict)


def final_trainings() -> float:
    """The finals' cost before anything is handed over, in trainings on all of train.

    The race of the finalists leaves a fold out; then two models are trained, one of them taught.
    """
    contenders = max(MIN_CONTENDERS, -(-FINAL.finalists // 2))
    races = FINAL.finalists * HALVING + contenders * (FINAL.finalist_seeds - HALVING)
    return races * (FOLDS - 1) / FOLDS + 2


def seconds_of_search(benchmark: SurrogateBenchmark, method: str, workers: int) -> float:
    """Simulated seconds of a search: the budget, less the finals' time for ours."""
    trainings = BUDGETS[workers] - (final_trainings() / workers if method == OURS else 0.0)
    return trainings * benchmark.training_seconds


@dataclass(frozen=True)
class Found:
    """What a search has found: the best configuration of a baseline, or the finalists of ours, best first."""

    method: str
    workers: int
    seed: int
    params: Sequence[Mapping[str, Any]]


def search_all(benchmark: SurrogateBenchmark, count: int) -> list[Found]:
    """`count` searches of ours and of each of OTHERS; every second one has 8 workers."""
    jobs = [(name, 8 if seed % 2 else 1, seed) for seed in range(count) for name in (OURS, *OTHERS)]
    seconds = [seconds_of_search(benchmark, name, workers) for name, workers, _ in jobs]
    searches = [(METHODS[job[0]], *job[1:], limit) for job, limit in zip(jobs, seconds, strict=True)]
    found = []
    for job, limit, search in zip(jobs, seconds, run_searches(benchmark, searches), strict=True):
        best = search.best_trials_at(limit, FINAL.finalists if job[0] == OURS else 1)
        params = [benchmark.validation.params(search.configs[trial]) for trial in best]
        distinct = [one for rank, one in enumerate(params) if one not in params[:rank]]
        found.append(Found(*job, distinct))
    return found


def best_trial(space: Space, found: Found) -> HandedOver:
    """A baseline's study: the configuration of its best trial with fresh seeds."""
    config = space.config(dict(found.params[0]), found.seed)
    jobs = [make_job(found.method, config, one) for one in final_seeds(found.seed, FINAL).tests]
    return HandedOver(found.method, found.workers, found.seed, JobList(jobs), {BEST_TRIAL: jobs})


def three_answers(space: Space, found: Found, folder: Path) -> HandedOver:
    """A study of ours after its search: the race of its finalists on folds, and the three answers."""
    seeds = final_seeds(found.seed, FINAL)
    blocks = [Block(one, fold, FOLDS) for fold, one in enumerate(seeds.finalists)]
    finalists = [
        Finalist(rank, space.config(dict(params), found.seed), params, 0.0, complete=True)
        for rank, params in enumerate(found.params)
    ]
    # Level 1: which finalists are dropped early depends on the order in which trainings end.
    race = Race(finalists, blocks, level=1.0)
    study = HandedOver(OURS, found.workers, found.seed, race)

    def confirm() -> Queue:
        members, winner = race.trained(), race.ranked()[0].config
        parts = [(one.rows, one.held_out) for one in (read(folder, job) for job in members)]
        teacher = Teacher.out_of_fold(
            parts,
            corpus(),
            weight=FINAL.teacher_weight,
            temperature=FINAL.teacher_temperature,
            origin="finalists",
        )
        path = folder / f"teacher-{teacher.digest[:8]}.safetensors"
        if not path.exists():
            teacher.save(path)
        study.answers = {
            CONFIGURATION: [make_job(OURS, winner, one) for one in seeds.tests],
            TAUGHT: [make_taught_job(OURS, winner, one, path, teacher.digest) for one in seeds.tests],
            AVERAGE: members,
        }
        return JobList([*study.answers[CONFIGURATION], *study.answers[TAUGHT]])

    study.queue = JobChain(race, confirm)
    return study


def test_scores(studies: Sequence[HandedOver], folder: Path) -> pd.DataFrame:
    """Weighted F1 on test of all answers, a row for each study and answer.

    dev: mean weighted F1 on dev of its trainings; machines: on which they ran.
    """
    labels = meld().labels[tested_rows()]
    rows = []
    for study in studies:
        for answer, jobs in study.answers.items():
            trained: list[RealTraining] = [read(folder, job) for job in jobs]
            log_prob = [one.test for one in trained if one.result.score is not None]
            if answer == AVERAGE:
                score = f1(np.mean([np.exp(one) for one in log_prob], axis=0), labels)
            else:
                score = float(np.mean([f1(one, labels) for one in log_prob]))
            rows.append({
                "method": study.method, "workers": study.workers, "seed": study.seed,
                "answer": answer, "trainings": len(log_prob), "f1": score,
                "dev": float(np.mean([one.result.score for one in trained if one.result.score is not None])),
                "machines": "; ".join(sorted({one.machine for one in trained})),
            })  # fmt: skip
    return pd.DataFrame(rows)


HEAD = (
    "handed over", "weighted F1 on test", "above OptunaSearch + ASHA's best trial", "p",
    "above random search's best trial", "p",
)  # fmt: skip


def cells(table: pd.DataFrame) -> list[list[str]]:
    """The rows under HEAD: means over studies. Differences are paired by study.

    The answers of ours are tested; their p-values are adjusted in each column.
    """
    answers = {
        f"{answer}, {method}" if method != OURS else f"ours: {answer}": part.set_index("seed")["f1"]
        for (method, answer), part in table.groupby(["method", "answer"], sort=False)
    }
    references = [f"{BEST_TRIAL}, {name}" for name in REFERENCES]
    differences = {
        reference: {name: (scores - answers[reference]).to_numpy() for name, scores in answers.items()}
        for reference in references
    }
    tested = [name for name in answers if name.startswith(OURS)]
    adjusted = {
        reference: dict(zip(tested, holm([wilcoxon(found[name]).p for name in tested]), strict=True))
        for reference, found in differences.items()
    }
    rows = []
    for name, scores in answers.items():
        row = [name, interval_text(interval(scores.to_numpy(), "mean"))]
        for reference in references:
            if name == reference:
                row += ["", ""]
                continue
            row.append(interval_text(interval(differences[reference][name], "mean"), signed=True))
            row.append(f"{adjusted[reference][name]:.3f}" if name in tested else "")
        rows.append(row)
    return rows


def committed_table() -> str:
    """The table of the committed results, as Markdown."""
    return markdown(HEAD, cells(pd.read_parquet(TABLE)))


def recorded_searches(path: Path, count: int, search: Callable[[int], list[Found]]) -> list[Found]:
    """`count` searches of each method, from a file: written if it has too few, or those of another table.

    Args:
        search: makes so many searches of each method.
    """
    table = sha256(VALIDATION)
    content = read_json(path, dict) or {}
    if content.get("table") != table or content.get("studies", 0) < count:
        content = {"table": table, "studies": count, "found": [asdict(one) for one in search(count)]}
        write_text(path, json.dumps(content) + "\n")
    return [Found(**one) for one in content["found"] if one["seed"] < count]


def studies_of(space: Space, found: Sequence[Found], folder: Path) -> list[HandedOver]:
    """What is to be trained after these searches."""
    return [
        three_answers(space, one, folder) if one.method == OURS else best_trial(space, one) for one in found
    ]


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.efficiency.handed_over",
        description="Train for real what searches hand over, and write the table of their scores on test.",
    )
    parser.add_argument("--studies", type=int, default=8, help="studies of each method (default: 8)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="concurrent trainings (default: one per core)"
    )
    parser.add_argument(
        "--keep-closed", action="store_true", help="train only: do not open test, and write no table"
    )
    return parser.parse_args()


def main() -> None:
    """Search, train, open test, write and print the table."""
    args = options()
    TRAININGS.mkdir(parents=True, exist_ok=True)
    space = small_space()

    def search(count: int) -> list[Found]:
        return search_all(SurrogateBenchmark(space, Surrogate(space, validation_table())), count)

    found = recorded_searches(TRAININGS / "searches.json", args.studies, search)
    studies = studies_of(space, found, TRAININGS)
    context = multiprocessing.get_context("spawn")
    columns = (TextColumn("{task.completed:.0f} trainings ended"), SpinnerColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress, ProcessPoolExecutor(args.processes, context, os.nice, (19,)) as pool:
        task = progress.add_task("trainings", total=None)
        run([study.queue for study in studies], TRAININGS, pool, lambda: progress.advance(task))
    if args.keep_closed:
        return
    results = test_scores(studies, TRAININGS)
    with replacing(TABLE) as temporary:
        results.to_parquet(temporary, compression="zstd")
    print(committed_table())
    print(f"wrote {TABLE.relative_to(ROOT)}; next: python -m benchmarks.efficiency")


if __name__ == "__main__":
    main()
