"""Trainings outside the search: their order, their results, and nothing is trained twice."""

import json
from pathlib import Path

import numpy as np
import pytest

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.training.checkpoint import WEIGHTS
from rigsl.training.evaluation import Evaluation
from rigsl.training.held_out import write_held_out
from rigsl.training.scores import scores
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import (
    Block,
    Job,
    JobChain,
    JobList,
    JobResult,
    JobResults,
    JobSearcher,
    identity,
    make_job,
)
from search.record.trial_report import BY_ITSELF, FAILED, WORKER_LOST, TrialReport
from search.resources.workers import Workers
from search.run_folder import MODEL, RESULTS, STATE, TRAININGS

JOBS = [make_job("trial 3", RIGSLConfig(), seed) for seed in (11, 12)]


class Watcher:
    """Keeps what the terminal would show."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    def job_started(self, label: str) -> None:
        self.events.append(("started", label))

    def job_epoch(self, label: str, report: TrialReport) -> None:
        self.events.append(("epoch", label, report.epoch))

    def job_ended(self, label: str, result: JobResult) -> None:
        self.events.append(("ended", label, result.score))


def report(epoch: int, score: float, ended: str = "") -> dict:
    """What Ray hands to the searcher after an epoch."""
    metrics = {"train_loss": 1.0}
    return TrialReport(epoch, score, epoch, 1.0, 1, 0.4, 0.2, metrics, ended=ended).to_ray()


def test_a_job_is_named_after_its_configuration_and_its_seed() -> None:
    first, second = JOBS
    assert first.name == f"{identity(RIGSLConfig(seed=5))[:12]}-11"
    assert (first.label, first.config.seed) == ("trial 3, seed 11", 11)
    assert make_job("", RIGSLConfig(lr=0.5), 11).name != first.name != second.name


def test_the_second_queue_of_a_chain_is_made_when_the_first_ones_jobs_have_ended() -> None:
    made = []

    def second_queue() -> JobList:
        made.append(True)
        return JobList([JOBS[0]])

    chain, result = JobChain(JobList(JOBS), second_queue), JobResult(0.5, 3, 2)
    assert [chain.next(), chain.next(), chain.next()] == [*JOBS, None]
    chain.ended(JOBS[0], result)
    assert chain.next() is None
    assert not made
    chain.ended(JOBS[1], result)
    assert chain.next() == JOBS[0]
    chain.ended(JOBS[0], result)
    assert chain.next() is None
    assert len(made) == 1


def test_a_job_that_has_a_result_is_not_trained_again(tmp_path: Path) -> None:
    first, second = JOBS
    (tmp_path / first.name).mkdir()
    (tmp_path / first.name / STATE).touch()
    JobResults(tmp_path).add(first, JobResult(0.5, 3, 2))
    assert not (tmp_path / first.name / STATE).exists()
    watcher = Watcher()
    searcher = JobSearcher(JobList(JOBS), JobResults(tmp_path), 1, watcher)
    assert searcher.suggest("a")["folder"] == second.name
    assert searcher.suggest("b") is None
    searcher.on_trial_result("a", report(1, 0.2))
    searcher.on_trial_complete("a", report(2, 0.25, BY_ITSELF))
    assert searcher.suggest("b") == searcher.FINISHED
    assert JobResults(tmp_path).get(second) == JobResult(0.25, 2, 1)
    assert watcher.events == [
        ("started", second.label),
        ("epoch", second.label, 1),
        ("ended", second.label, 0.25),
    ]


def test_an_interrupted_job_has_no_result_and_a_failed_one_says_why(tmp_path: Path) -> None:
    results = JobResults(tmp_path)

    def end(result: dict | None) -> JobResult | None:
        searcher = JobSearcher(JobList([JOBS[0]]), results, 1, Watcher())
        results.drop(JOBS[0])
        searcher.suggest("a")
        searcher.on_trial_complete("a", result, error=result is None)
        return results.get(JOBS[0])

    assert end(report(1, 0.2)) is None
    failed = TrialReport(epochs=1, ended=FAILED, reason="out of memory").to_ray()
    assert end(failed) == JobResult(None, 1, 0, "out of memory")
    assert end(report(1, float("nan"), BY_ITSELF)).score is None
    assert end(None).reason.startswith("worker lost twice")


def test_a_job_whose_worker_said_why_it_ends_has_that_reason(tmp_path: Path) -> None:
    searcher = JobSearcher(JobList([JOBS[0]]), JobResults(tmp_path), 1, Watcher())
    searcher.suggest("a")
    searcher.on_trial_result("a", TrialReport(epochs=1, reason="crashed: CUDA error").to_ray())
    searcher.on_trial_complete("a", None, error=True)
    assert searcher.results.get(JOBS[0]) == JobResult(None, 0, 0, "crashed: CUDA error")


def test_the_best_training_is_the_first_with_the_best_score(tmp_path: Path) -> None:
    runner = TrainingRunner(tmp_path, Workers(1, "cpu"), None, Watcher(), lambda: False)
    (tmp_path / TRAININGS).mkdir()
    config, seeds = RIGSLConfig(), (11, 12, 13, 14)
    jobs: list[Job] = [make_job("", config, seed) for seed in seeds]
    blocks = list(map(Block, seeds))
    assert runner.best(config, blocks) is None
    for job, score in zip(jobs[:3], (0.2, 0.5, 0.5), strict=True):
        runner.results.add(job, JobResult(score, 3, 2))
    runner.results.add(jobs[3], JobResult(None, 0, 0, "diverged"))
    assert (tmp_path / TRAININGS / RESULTS).is_file()
    assert runner.best(config, blocks) == (Block(12), JobResult(0.5, 3, 2))
    checkpoints = runner.checkpoints(config, seeds)
    assert checkpoints == {
        seed: tmp_path / TRAININGS / job.name / MODEL for seed, job in zip(seeds[:3], jobs, strict=False)
    }
    assert runner.checkpoint_scores([*checkpoints.values(), tmp_path / "trials" / "0003" / MODEL]) == [
        0.2, 0.5, 0.5,
    ]  # fmt: skip
    assert runner.missing(jobs) == []
    runner.forget(jobs[:1])
    assert runner.missing(jobs) == jobs[:1]
    for path in checkpoints.values():
        path.mkdir(parents=True)
    runner.clean(keep=[checkpoints[12]])
    assert [seed for seed, path in checkpoints.items() if path.is_dir()] == [12]


def checkpoint(folder: Path, job: Job, content: bytes = b"weights") -> Path:
    """Weights of a job, as a worker leaves them."""
    path = folder / job.name / MODEL / WEIGHTS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_result_belongs_to_the_weights_that_its_training_ended_with(tmp_path: Path) -> None:
    job, results = JOBS[0], JobResults(tmp_path)
    path = checkpoint(tmp_path, job)
    results.add(job, JobResult(0.5, 3, 2))
    assert JobResults(tmp_path).has_weights(job)
    path.write_bytes(b"of half a training")
    assert not JobResults(tmp_path).has_weights(job)
    path.unlink()
    assert not JobResults(tmp_path).has_weights(job)


def test_a_job_that_is_trained_again_has_no_result_until_it_ends(tmp_path: Path) -> None:
    job, results = JOBS[0], JobResults(tmp_path)
    path = checkpoint(tmp_path, job)
    results.add(job, JobResult(0.5, 3, 2))
    results.drop(job)
    assert not path.exists()
    checkpoint(tmp_path, job, b"of the first epoch")  # and then the process is killed
    assert JobResults(tmp_path).get(job) is None


def test_a_job_whose_worker_was_lost_is_tried_again_by_the_next_process(tmp_path: Path) -> None:
    watcher, results = Watcher(), JobResults(tmp_path)
    searcher = JobSearcher(JobList(JOBS), results, workers=2, watcher=watcher)
    searcher.suggest("a")
    searcher.suggest("b")
    searcher.on_trial_complete("a", error=True)
    diverged = TrialReport(ended=FAILED, reason="diverged: the loss is not finite").to_ray()
    searcher.on_trial_complete("b", diverged)
    assert results.get(JOBS[0]) == JobResult(None, 0, 0, WORKER_LOST), "this process does not try for ever"
    again = JobResults(tmp_path)
    assert again.get(JOBS[0]) is None
    assert again.get(JOBS[1]).reason == "diverged: the loss is not finite"


def test_a_job_whose_predictions_of_its_fold_are_gone_is_trained_again_by_the_next_process(
    tmp_path: Path,
) -> None:
    job, other = (make_job("trial 3", RIGSLConfig(), Block(seed, 0, 3)) for seed in (11, 12))
    results, labels, log_prob = JobResults(tmp_path), np.zeros(2, np.int64), np.zeros((2, 1), np.float32)
    predicted = Evaluation(scores(log_prob, labels, 0.0), log_prob, labels, np.arange(2))
    for one in (job, other):
        (tmp_path / one.name).mkdir()
        write_held_out(results.held_out_path(one), predicted)
        results.add(one, JobResult(0.5, 3, 2))
    results.held_out_path(job).unlink()
    again = JobResults(tmp_path)
    assert again.get(job) is None
    assert again.get(other).held_out == 1.0


@pytest.mark.parametrize(
    "content",
    [
        '{"a',
        "[]",
        '{"job": 3}',
        '{"job": {"score": 0.5}}',
        '{"job": {"score": "high", "epochs": 3, "best_epoch": 2}}',
        '{"job": {"score": 0.5, "epochs": 3, "best_epoch": 2, "colour": "red"}}',
    ],
)
def test_damaged_results_are_named_with_a_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / RESULTS).write_text(content, encoding="utf-8")
    with pytest.raises(
        UserError, match=rf"{RESULTS}: is damaged; restore it from a copy, or remove it"
    ) as told:
        JobResults(tmp_path)
    assert "\n" not in str(told.value)


def test_results_of_version_0_1_0_have_no_digest(tmp_path: Path) -> None:
    job = JOBS[0]
    text = json.dumps({job.name: {"score": 0.5, "epochs": 3, "best_epoch": 2, "reason": ""}})
    (tmp_path / RESULTS).write_text(text, encoding="utf-8")
    results = JobResults(tmp_path)
    assert results.get(job) == JobResult(0.5, 3, 2)
    assert not results.has_weights(job)
    checkpoint(tmp_path, job)
    assert results.has_weights(job)
