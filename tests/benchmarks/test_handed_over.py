"""Real trainings of what searches hand over: on a small corpus, in this process."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.efficiency import handed_over, real_trainings
from benchmarks.efficiency.baselines import random
from benchmarks.efficiency.handed_over import (
    AVERAGE,
    BEST_TRIAL,
    CONFIGURATION,
    FINAL,
    HEAD,
    REFERENCES,
    TAUGHT,
    Found,
    HandedOver,
    cells,
    final_trainings,
    recorded_searches,
    search_all,
    studies_of,
)
from benchmarks.efficiency.real_trainings import FOLDS, RealTraining, read, run
from benchmarks.efficiency.run_study import OURS, SurrogateBenchmark, simulate_search
from benchmarks.efficiency.simulator import SimulationResult
from benchmarks.efficiency.surrogate import Surrogate
from rigsl.training.teacher import Teacher
from rigsl.training.trainer import TrainingDiverged
from search.confirm.trainings import Job, JobList, make_job
from search.space.schedule import Schedule
from tests.helpers.corpora import toy_corpus
from tests.helpers.objectives import make_space, make_table


class InThisThread(Executor):
    """Runs what it is given at once, and counts it."""

    def __init__(self) -> None:
        self.started: list[Job] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.started.append(arguments[1])
        future.set_result(function(*arguments, **options))
        return future


def searches_here(benchmark: SurrogateBenchmark, jobs: list[tuple[Any, ...]]) -> list[SimulationResult]:
    """The searches in this process; all are random ones, which are quick."""
    return [simulate_search(benchmark, random, *job[1:]) for job in jobs]


def all_studies(benchmark: SurrogateBenchmark, folder: Path) -> list[HandedOver]:
    return studies_of(benchmark.space, search_all(benchmark, 1), folder)


@pytest.fixture(autouse=True)
def _small_corpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(handed_over, "run_searches", searches_here)
    whole = toy_corpus(dialogues=60)
    for module in (real_trainings, handed_over):
        monkeypatch.setattr(module, "meld", lambda: whole)
    real_trainings.corpus.cache_clear()
    real_trainings.folds.cache_clear()
    yield
    real_trainings.corpus.cache_clear()
    real_trainings.folds.cache_clear()


@pytest.fixture
def benchmark(tmp_path: Path) -> SurrogateBenchmark:
    space = replace(make_space(tmp_path), schedule=Schedule("asha", grace=2))
    surrogate = Surrogate(space, make_table(space))
    quick = {"epochs": 2, "hidden_dim": 8, "batch_size": 32, "num_L": 1, "nodeformer_heads": 1}
    fixed = dict(space.fixed) | {name: value for name, value in quick.items() if name not in space.parameters}
    return SurrogateBenchmark(replace(space, fixed=fixed), surrogate)


def test_the_finals_cost_what_they_train_before_anything_is_handed_over() -> None:
    # Eight finalists on two folds, four of them on the third: two thirds of train each. Then two models.
    assert final_trainings() == pytest.approx((8 * 2 + 4) * 2 / 3 + 2)


def test_every_study_hands_over_its_answers_and_trains_nothing_twice(
    tmp_path: Path, benchmark: SurrogateBenchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed_over, "OTHERS", REFERENCES)
    monkeypatch.setattr(handed_over, "FINAL", replace(FINAL, finalists=5, test_seeds=2))
    folder, pool = tmp_path / "trainings", InThisThread()
    studies = all_studies(benchmark, folder)
    run([study.queue for study in studies], folder, pool)
    assert [study.method for study in studies] == [OURS, *REFERENCES]
    ours = studies[0].answers
    assert [len(ours[answer]) for answer in (CONFIGURATION, TAUGHT, AVERAGE)] == [2, 2, 5 * 2 + 4]
    assert {job.fold for job in ours[AVERAGE]} == set(range(FOLDS))
    assert [study.answers.keys() for study in studies[1:]] == [{BEST_TRIAL}] * 2
    names = [job.name for job in pool.started]
    # Both baselines hand over the same configuration here, which is trained once.
    assert len(names) == len(set(names)) == 14 + 2 + 2 + 2

    table = handed_over.test_scores(studies, folder)
    assert table["answer"].tolist() == [CONFIGURATION, TAUGHT, AVERAGE, BEST_TRIAL, BEST_TRIAL]
    assert table["f1"].between(0, 1).all()
    probability = np.mean([np.exp(read(folder, job).test) for job in ours[AVERAGE]], axis=0)
    labels = toy_corpus(dialogues=60).labels[real_trainings.tested_rows()]
    assert table["f1"][2] == real_trainings.f1(probability, labels)

    again = InThisThread()
    repeated = all_studies(benchmark, folder)
    run([study.queue for study in repeated], folder, again)
    assert not again.started
    pd.testing.assert_frame_equal(handed_over.test_scores(repeated, folder), table)


def test_searches_are_recorded_until_the_table_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def search(count: int) -> list[Found]:
        made.append(count)
        return [Found(OURS, 1, seed, [{"num_L": 1}, {"num_L": 2}]) for seed in range(count)]

    table, path = tmp_path / "table", tmp_path / "searches.json"
    table.write_text("one")
    monkeypatch.setattr(handed_over, "VALIDATION", table)
    first = recorded_searches(path, 2, search)
    assert recorded_searches(path, 2, search) == first
    assert recorded_searches(path, 1, search) == first[:1]
    assert made == [2]
    assert len(recorded_searches(path, 3, search)) == 3
    table.write_text("another")
    recorded_searches(path, 3, search)
    assert made == [2, 3, 3]


def test_the_teacher_knows_no_utterance_that_its_trainings_learned(
    tmp_path: Path, benchmark: SurrogateBenchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed_over, "OTHERS", ())
    monkeypatch.setattr(handed_over, "FINAL", replace(FINAL, finalists=2, test_seeds=1))
    study = all_studies(benchmark, tmp_path)[0]
    run([study.queue], tmp_path, InThisThread())
    for job in study.answers[AVERAGE]:
        left_out = np.flatnonzero(real_trainings.folds() == job.fold)
        assert read(tmp_path, job).rows.tolist() == real_trainings.corpus().rows(left_out).tolist()
    teacher = study.answers[TAUGHT][0].teacher
    assert teacher is not None
    tested = real_trainings.tested_rows()
    assert np.isnan(Teacher.load(teacher).log_prob[tested]).all()


def test_no_training_sees_the_labels_of_test() -> None:
    assert (real_trainings.corpus().labels[real_trainings.tested_rows()] < 0).all()


def test_a_training_that_diverges_is_recorded(
    tmp_path: Path, benchmark: SurrogateBenchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*arguments: object, **options: object) -> None:
        raise TrainingDiverged("diverged: the loss is not a number")

    monkeypatch.setattr(real_trainings, "fit", diverges)
    config = benchmark.space.config({}, seed=0)
    job = make_job("diverges", config, 0)
    run([JobList([job])], tmp_path, InThisThread())
    trained: RealTraining = read(tmp_path, job)
    assert trained.result.score is None
    assert trained.result.reason == "diverged: the loss is not a number"
    assert not len(trained.test)


def test_differences_are_paired_by_study() -> None:
    scores = {
        (OURS, AVERAGE): [0.62, 0.63, 0.64],
        (REFERENCES[0], BEST_TRIAL): [0.60, 0.61, 0.62],
        (REFERENCES[1], BEST_TRIAL): [0.61, 0.60, 0.62],
    }
    table = pd.DataFrame(
        {"method": method, "answer": answer, "seed": seed, "f1": value}
        for (method, answer), values in scores.items()
        for seed, value in enumerate(values)
    )
    rows = cells(table)
    assert {len(row) for row in rows} == {len(HEAD)}
    assert [row[0] for row in rows] == [f"ours: {AVERAGE}", *(f"{BEST_TRIAL}, {name}" for name in REFERENCES)]
    assert rows[0][1].startswith("63.00 (")
    assert rows[0][2] == "+2.00 (+2.00 to +2.00)"
    assert rows[1][2:4] == ["", ""]
    assert rows[2][4:] == ["", ""]
