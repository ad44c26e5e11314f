"""The final stage: fresh seeds decide, test is opened once, and nothing before it depends on test labels."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import optuna
import pytest
from sklearn.metrics import f1_score

from rigsl.data.folds import train_folds
from rigsl.inference.average import evaluate_model, load_model, members_of
from rigsl.training.checkpoint import load_checkpoint, read_teacher
from rigsl.training.evaluation import evaluate
from rigsl.training.held_out import read_held_out
from rigsl.training.teacher import Teacher
from search import study as study_module
from search.confirm import runner, stage
from search.confirm.evaluation import read_predictions
from search.confirm.final_record import read_final_record
from search.confirm.race import Race
from search.export.rerun import rerun
from search.record import record
from search.results import Outcome
from search.run_folder import RESULTS
from search.study import run
from tests.helpers.run_folders import make_plan
from tests.helpers.toy_study import make_corpus, toy_plan, write_home
from tests.helpers.workers_here import keep_workers_here
from tests.search.confirm.test_trainings import Watcher

FINAL = {"finalists": 2, "finalist_seeds": 2, "test_seeds": 2}


pytestmark = pytest.mark.usefixtures("workers_here")


def searched(home: Path, **options) -> Outcome:
    defaults = {} if "resume" in options else {"trials": 4, **FINAL}
    return run(toy_plan(home, workers=1, **(defaults | options)))


def test_folds_are_cut_for_the_first_training_and_not_before(tmp_path: Path, monkeypatch) -> None:
    """Cutting them imports scikit-learn, which would delay the first trial of the search."""
    plan, cuts = make_plan(tmp_path), []
    plan = dataclasses.replace(plan, final=dataclasses.replace(plan.final, folds=2))
    monkeypatch.setattr(stage, "train_folds", lambda *cut: cuts.append(cut) or np.zeros(3))
    final = stage.FinalStage(plan, optuna.create_study(), Watcher(), lambda text: None, lambda: False)
    assert cuts == []
    assert np.array_equal(final.trainings.folds, np.zeros(3))
    assert final.trainings is final.trainings
    assert cuts == [(plan.corpus, 2, plan.seed)]


def before_test(folder: Path) -> list:
    """All that a study has decided without the test split."""
    trials = record.read_record(folder).trials
    search = [(trial.state, trial.params, trial.values, trial.intermediate_values) for trial in trials]
    final, metrics = read_final_record(folder), json.loads((folder / "best" / "metrics.json").read_text())
    names = ["trial", "seed", "best_epoch", "recorded_weighted_f1", "validation", "lineage"]
    jobs = json.loads((folder / "final" / RESULTS).read_text())
    exported = {name: metrics[name] for name in names}
    trust = dataclasses.replace(final.trust, at="")
    weights = (folder / "best" / "model.safetensors").read_bytes()
    return [search, jobs, final.finalists, final.winner, final.test.validation, trust, exported, weights]


@dataclass(frozen=True)
class Twins:
    """Two studies with one worker and one seed; the labels of the second one's test split are shuffled."""

    home: Path
    first: Outcome
    second: Outcome


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, shared_ray: None, empty_mlflow: Path) -> Twins:
    home = write_home(tmp_path_factory.mktemp("twins") / "home")
    shutil.copy(empty_mlflow, home / "mlflow.db")
    corpus = make_corpus()
    labels = corpus.labels.copy()
    rows = corpus.rows(corpus.dialogues("test"))
    labels[rows] = np.random.default_rng(1).permutation(labels[rows])
    (home / "shuffled").mkdir()
    dataclasses.replace(corpus, labels=labels).save(home / "shuffled" / "meld_open.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        keep_workers_here(patch)
        first = searched(home, study="first")
        second = searched(home, study="second", data_dir=home / "shuffled")
    return Twins(home, first, second)


def test_one_worker_and_one_seed_give_the_same_trials(twins: Twins) -> None:
    studies = [record.read_record(outcome.plan.folder) for outcome in (twins.first, twins.second)]
    first, second = (
        [(trial.params, trial.state, trial.intermediate_values) for trial in record.begun(study)]
        for study in studies
    )
    assert len(first) == 4
    assert first == second


def test_nothing_before_the_test_depends_on_test_labels(twins: Twins) -> None:
    first, second = twins.first.plan.folder, twins.second.plan.folder
    assert before_test(first) == before_test(second)
    tests = [read_final_record(folder).test.winner for folder in (first, second)]
    assert tests[0] != tests[1], "the labels of test do matter in the end"


def test_every_answer_predicts_the_same_whatever_the_labels_of_test_are(twins: Twins) -> None:
    first, second = (read_predictions(outcome.plan.folder) for outcome in (twins.first, twins.second))
    assert set(first) == set(second)
    for side, runs in first.items():
        assert np.array_equal(runs.predicted, second[side].predicted), side
        assert runs.weights == second[side].weights, side
    assert not np.array_equal(first["average"].labels, second["average"].labels)
    for pattern in ("best/taught/*.safetensors", "best/average/*/*.safetensors", "final/*/held_out.*"):
        files, others = (sorted(outcome.plan.folder.glob(pattern)) for outcome in (twins.first, twins.second))
        assert files
        assert [path.read_bytes() for path in files] == [path.read_bytes() for path in others], pattern


def test_the_winner_has_the_best_mean_and_test_is_opened_once(twins: Twins) -> None:
    outcome = twins.first
    folder = outcome.plan.folder
    final = read_final_record(folder)
    candidates = final.finalists.candidates
    assert [len(candidate.scores) for candidate in candidates] == [2, 2]
    assert candidates[0].state == "winner"
    assert candidates[0].mean == max(candidate.mean for candidate in candidates)
    assert final.winner.trial == candidates[0].trial
    seeds = {*final.finalists.seeds, *final.test.seeds, outcome.plan.seed}
    assert len(seeds) == 5, "every stage has seeds of its own"
    assert [opening.protocol for opening in final.openings] == ["validation"]
    predictions = read_predictions(folder)
    assert {side: runs.seeds for side, runs in predictions.items()} == {
        "winner": final.test.seeds,
        "baseline": final.test.seeds,
        "taught": final.test.seeds,
        "taught baseline": final.test.seeds,
        "average": (0,),
        "average of the baseline": (0,),
    }
    metrics = outcome.exported.metrics
    index = final.test.seeds.index(metrics["seed"])
    assert final.test.validation["winner"][index] == max(final.test.validation["winner"])
    assert metrics["test"]["weighted_f1"] == final.test.winner.weighted_f1.values[index]
    assert len(list((folder / "final").glob("*/model"))) == 2, "of the exported ones, untaught and taught"


def test_what_is_expected_of_test_is_recorded_before_it_is_opened(twins: Twins) -> None:
    final = read_final_record(twins.first.plan.folder)
    trust, expected = final.trust, final.trust.expected
    assert trust.openings == 0
    assert datetime.fromisoformat(trust.at) <= datetime.fromisoformat(final.openings[0].at)
    assert trust.numbers["seed_deviation"] > 0
    assert 0 <= expected.low < expected.mean < expected.high <= 1
    gain = expected.corrections["all of train"]
    results = json.loads((twins.first.plan.folder / "final" / RESULTS).read_text())
    key = final.winner.config_hash[:12]
    scores = [[], []]
    for name, result in results.items():
        if name.startswith(key):
            scores["fold" in name].append(result["score"])
    assert gain == pytest.approx(np.mean(scores[0]) - np.mean(scores[1]))


@pytest.mark.parametrize("answer", ["", "taught", "average"])
def test_every_answer_is_rerun_to_the_last_digit(twins: Twins, answer: str) -> None:
    folder = twins.first.plan.folder / "best" / answer
    result = rerun(folder, data_dir=twins.home / "data")
    assert result.equal
    tested = read_final_record(twins.first.plan.folder).test
    runs = {
        "": tested.winner,
        "taught": tested.taught and tested.taught.winner,
        "average": tested.average.winner,
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"]["weighted_f1"] in runs[answer].weighted_f1.values


def test_a_taught_model_learns_what_the_finalists_predict_out_of_fold(twins: Twins) -> None:
    folder, corpus = twins.first.plan.folder, twins.first.plan.corpus
    teacher = Teacher.load(folder / "best" / "taught" / "teacher.safetensors")
    assert read_teacher(folder / "best" / "taught") == teacher.record
    folds = train_folds(corpus, 3, seed=twins.first.plan.seed)
    paths = (folder / "final").glob("*-fold?of3/held_out.safetensors")
    parts = [read_held_out(path) for path in sorted(paths)]
    taught = teacher.taught_rows(corpus)
    assert np.array_equal(taught, corpus.rows(np.flatnonzero((folds == 1) | (folds == 2))))
    for row in taught[::5]:
        mean = np.mean(
            [np.exp(part.log_prob[part.rows == row][0]) for part in parts if row in part.rows], axis=0
        )
        assert np.exp(teacher.log_prob[row]) == pytest.approx(mean, abs=1e-6)


def test_finalists_are_scored_on_folds_that_they_have_not_seen(twins: Twins) -> None:
    folder, corpus = twins.first.plan.folder, twins.first.plan.corpus
    finalists = read_final_record(folder).finalists
    folds = train_folds(corpus, 3, seed=twins.first.plan.seed)
    assert finalists.folds == (1, 2)
    assert finalists.optimism is None
    for candidate in finalists.candidates:
        for seed, fold, score in zip(finalists.seeds, finalists.folds, candidate.scores, strict=True):
            training = folder / "final" / f"{candidate.config_hash[:12]}-{seed}-fold{fold + 1}of3"
            kept = read_held_out(training / "held_out.safetensors")
            assert np.array_equal(kept.rows, corpus.rows(np.flatnonzero(folds == fold)))
            labels = corpus.labels[kept.rows]
            expected = f1_score(labels, kept.log_prob.argmax(axis=1), average="weighted")
            assert score == pytest.approx(expected, abs=1e-12)


def test_the_average_is_the_mean_of_the_finalists_probabilities(tracked_home: Path, monkeypatch) -> None:
    kept = {}
    original = stage.open_test

    def open_test(folder, corpus, checkpoints, workers):
        for tested in checkpoints:
            models = [load_checkpoint(path) for path in tested.folders.values()]
            kept[tested.side] = [np.exp(evaluate(model, corpus, "test").log_prob) for model in models]
        return original(folder, corpus, checkpoints, workers)

    monkeypatch.setattr(stage, "open_test", open_test)
    outcome = searched(tracked_home, study="average")
    tested = read_final_record(outcome.plan.folder).test
    assert len(kept["average"]) == tested.average.members == 4
    labels = outcome.plan.corpus.labels[outcome.plan.corpus.rows(outcome.plan.corpus.dialogues("test"))]
    for side, scores in (
        ("average", tested.average.winner), ("average of the baseline", tested.average.baseline)
    ):  # fmt: skip
        classes = np.mean(kept[side], axis=0).argmax(axis=1)
        assert scores.weighted_f1.mean == pytest.approx(f1_score(labels, classes, average="weighted"))
    assert tested.average.difference is not None
    assert tested.average.parameters > tested.parameters > 0
    assert (tested.average.milliseconds, tested.milliseconds) > (0, 0)
    assert tested.average.baseline_members == 2
    exported = load_model(outcome.plan.folder / "best" / "average")
    assert len(members_of(exported)) == 4
    scores = evaluate_model(exported, outcome.plan.corpus, "test").scores
    assert scores.weighted_f1 == pytest.approx(tested.average.winner.weighted_f1.mean, abs=1e-12)
    dev = evaluate_model(exported, outcome.plan.corpus, "dev").scores
    assert dev.weighted_f1 == pytest.approx(tested.average.validation["winner"][0], abs=1e-12)
    assert len(tested.average.validation["winner"]) == 1


def test_a_winner_that_was_not_the_best_trial_is_exported_without_test_seeds(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the best trial of the search keeps its model, and the finals left folds out."""
    monkeypatch.setattr(Race, "winner", lambda race: race.finalists[-1])
    outcome = searched(tracked_home, finalists=2, finalist_seeds=2, test_seeds=0)
    final = read_final_record(outcome.plan.folder)
    second = final.winner.trial
    assert second != record.winner(record.read_record(outcome.plan.folder)).number
    assert len(final.test.winner.runs) == 1
    metrics = json.loads((outcome.plan.folder / "best" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["trial"] == second
    resumed = searched(tracked_home, resume=outcome.plan.name, trials=5)
    assert len(read_final_record(resumed.plan.folder).test.winner.runs) == 1


def test_a_finished_study_goes_on_with_another_winner_and_more_seeds(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(study_module, "write_report", full_disk)
        with pytest.raises(OSError, match="disk is full"):
            searched(tracked_home, study="one")
    folder = tracked_home / "runs" / "one"
    first = read_final_record(folder)
    assert not (folder / "report.html").exists()
    assert not record.read_record(folder).user_attrs[record.STANDING].startswith("finished")

    # The end of a study that was cut off is made up for by a resume: nothing is trained or tested again.
    average = folder / "best" / "average" / "average.json"
    written = average.stat().st_mtime_ns
    completed = searched(tracked_home, resume="one")
    assert (folder / "report.html").is_file()
    assert average.stat().st_mtime_ns >= written
    assert record.read_record(folder).user_attrs[record.STANDING] == "finished: all 4 trials done"
    assert read_final_record(folder) == first

    # The average is kept where its members are gone; without it they are trained again.
    shutil.rmtree(average.parent)
    # More test seeds: the weights of those that were tested are gone, and are trained again.
    more = searched(tracked_home, resume="one", trials=5, test_seeds=3)
    final = read_final_record(folder)
    assert final.winner == first.winner
    assert final.test.seeds[:2] == first.test.seeds
    assert final.test.winner.weighted_f1.values[:2] == first.test.winner.weighted_f1.values
    assert len(final.test.winner.runs) == len(final.test.baseline.runs) == 3
    assert [opening.what for opening in final.openings[1:]] == [
        "{0}, {1}, {0}, taught, {1}, taught, the average of 4 trainings of the finalists and the average of "
        "{1}".format(f"3 trainings of trial {first.winner.trial}", "3 trainings of the baseline")
    ]

    # Another winner: its scores are its own, in every file.
    monkeypatch.setattr(stage, "top", without(first.winner.trial))
    other = searched(tracked_home, resume="one", trials=6)
    final = read_final_record(folder)
    assert final.winner.config_hash != first.winner.config_hash
    assert len(final.openings) == 3
    assert [first.trust.openings, final.trust.openings] == [0, 2], "what was known of test is said"
    predictions = read_predictions(folder)["winner"]
    assert predictions.config_hash == final.winner.config_hash
    metrics = other.exported.metrics
    assert metrics["weights_sha256"] == predictions.weights[predictions.seeds.index(metrics["seed"])]
    model = load_checkpoint(folder / "best")
    tested = evaluate(model, other.plan.corpus, "test")
    assert metrics["test"]["weighted_f1"] == pytest.approx(tested.scores.weighted_f1, abs=1e-12)
    assert completed.exported.metrics["trial"] == more.exported.metrics["trial"] != metrics["trial"]


def full_disk(*_: object) -> None:
    raise OSError("disk is full")


def without(trial: int):
    """`top` of a search that never had this trial."""

    def top(study, configs, count):
        return [found for found in stage_top(study, configs, count + 1) if found.trial != trial][:count]

    stage_top = stage.top
    return top


@dataclass(frozen=True)
class Interrupted:
    """A study whose final stage was interrupted by the user after three trainings, and resumed."""

    outcome: Outcome  #: of the interrupted process
    results: dict  #: of the trainings, as they were then
    openings: tuple
    times: dict[Path, int]  #: when the checkpoints that were there had been written
    times_at_test: dict[Path, int]  #: the same when test was opened
    after: Outcome


def write_times(folder: Path) -> dict[Path, int]:
    """When the checkpoints of the final stage were written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("final/*/model/*.toml")}


@pytest.fixture(scope="module")
def interrupted(
    tmp_path_factory: pytest.TempPathFactory, shared_ray: None, empty_mlflow: Path
) -> Interrupted:
    home = write_home(tmp_path_factory.mktemp("interrupted") / "home")
    shutil.copy(empty_mlflow, home / "mlflow.db")
    ended: list[str] = []
    times_at_test: dict[Path, int] = {}
    open_test = stage.open_test

    class InterruptingSearcher(runner.JobSearcher):
        def on_trial_complete(self, trial_id, result=None, error=False) -> None:
            super().on_trial_complete(trial_id, result, error)
            ended.append(trial_id)
            if len(ended) == 3:
                os.kill(os.getpid(), signal.SIGINT)

    def watched_open_test(folder, *arguments):
        times_at_test.update(write_times(folder))
        return open_test(folder, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        keep_workers_here(patch)
        with patch.context() as interrupting:
            interrupting.setattr(runner, "JobSearcher", InterruptingSearcher)
            outcome = searched(home, study="one", protocol="paper")
        folder = outcome.plan.folder
        results = json.loads((folder / "final" / RESULTS).read_text())
        openings, times = read_final_record(folder).openings, write_times(folder)
        patch.setattr(stage, "open_test", watched_open_test)
        after = searched(home, resume="one", explain=True)
    return Interrupted(outcome, results, openings, times, times_at_test, after)


def test_an_interrupted_final_goes_on_and_trains_nothing_twice(interrupted: Interrupted) -> None:
    assert interrupted.outcome.interrupted == signal.SIGINT
    assert interrupted.outcome.exported is None
    assert len(interrupted.results) >= 3
    assert not interrupted.openings
    assert interrupted.after.exported is not None
    done = {name for name, result in interrupted.results.items() if result["score"] is not None}
    for path, time in interrupted.times.items():
        if path.parent.parent.name in done:
            assert interrupted.times_at_test[path] == time, "it was trained again"


def test_the_fields_protocol_is_told_apart(interrupted: Interrupted) -> None:
    final = read_final_record(interrupted.after.plan.folder)
    assert [opening.protocol for opening in final.openings] == ["validation", "paper"]
    assert final.paper.winner.mean >= 0
    assert final.trust.expected is not None
    assert interrupted.after.exported.metrics["protocol"] == "validation"


def test_the_winner_is_explained_from_the_baseline_on(interrupted: Interrupted) -> None:
    folder = interrupted.after.plan.folder
    final = read_final_record(folder)
    explanation, results = final.explanation, json.loads((folder / "final" / RESULTS).read_text())
    assert explanation.steps[0].params == final.baseline.params
    assert explanation.steps[-1].params == final.winner.params
    [winner] = [one for one in final.finalists.candidates if one.state == "winner"]
    assert explanation.steps[-1].scores == winner.scores, "it is not trained again"
    for before, step in itertools.pairwise(explanation.steps):
        assert step.changes
        assert step.gain == pytest.approx(step.mean - before.mean)
    assert explanation.trainings == 2 * len(explanation.steps)
    assert sum("fold" in name for name in results) >= explanation.trainings
    assert [opening.protocol for opening in final.openings] == ["validation", "paper"]
