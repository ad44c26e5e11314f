"""What is known before test is opened: read from trainings, folds and dev, and from no label of test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.data.folds import train_folds
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import save_checkpoint
from rigsl.training.evaluation import Evaluation, evaluate
from rigsl.training.held_out import write_held_out
from rigsl.training.scores import confusion_matrix, scores, weighted_f1
from search.confirm.evidence import epoch_bias, gather_evidence
from search.confirm.race import Finalist, Race
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import Block, Job, JobResult, make_job
from search.plan.plan import Plan
from search.record.learning_curve import write_curve
from search.run_folder import HELD_OUT, MODEL, TRAININGS
from search.space.confirmation import FinalOptions
from search.trust.evidence import Evidence
from tests.helpers.run_folders import make_plan
from tests.helpers.toy_study import make_corpus
from tests.search.confirm.test_trainings import Watcher

TINY = {"modals": "ld", "hidden_dim": 8, "num_L": 1, "num_K": 1, "nodeformer_heads": 1, "nb_features_dim": 4}
CONFIGS = [RIGSLConfig(**TINY, lr=rate) for rate in (1e-3, 2e-3, 3e-3)]
OPTIONS = {"finalists": 2, "finalist_seeds": 3, "test_seeds": 2}


class Stage:
    """The folder of a final stage whose trainings have ended, without a training."""

    def __init__(self, runs: Path, folds: int, corpus: Corpus | None = None) -> None:
        self.corpus = corpus or make_corpus()
        plan = make_plan(runs, corpus=self.corpus)
        self.plan: Plan = dataclasses.replace(plan, final=FinalOptions(**OPTIONS, folds=folds))
        seeds = self.plan.final_seeds.finalists
        self.blocks = [Block(seed, n, folds) if folds else Block(seed) for n, seed in enumerate(seeds)]
        self.folds = train_folds(self.corpus, folds) if folds else None
        self.runner = TrainingRunner(
            self.plan.folder, self.plan.workers, None, Watcher(), lambda: False, self.folds
        )
        (self.plan.folder / TRAININGS).mkdir()
        self.race = Race(
            [Finalist(n, config, {}, 0.6 - n / 100, True) for n, config in enumerate(CONFIGS[:2])],
            self.blocks,
        )
        for number in range(2 * len(seeds)):
            job = self.race.next()
            assert job is not None
            self.race.ended(job, self.trained(job, 0.5 - number / 1000))
        for config in CONFIGS[::2]:  # of the winner and the baseline
            for number, seed in enumerate(self.plan.final_seeds.tests):
                self.trained(make_job("", config, seed), 0.55 + number / 100)

    def trained(self, job: Job, score: float) -> JobResult:
        """What a training leaves: weights, predictions of a fold, a curve, a result."""
        folder = self.plan.folder / TRAININGS / job.name
        folder.mkdir()
        torch.manual_seed(job.config.seed)
        model = RIGSL(job.config, self.corpus.schema)
        save_checkpoint(folder / MODEL, model)
        write_curve(folder, [{"val_weighted_f1": value} for value in (0.1, 0.3, score, 0.4)])
        if job.fold is not None:
            rows = self.corpus.rows(np.flatnonzero(self.folds == job.fold))
            rng = np.random.default_rng(job.config.seed)
            log_prob = np.log(rng.dirichlet(np.ones(7), size=len(rows))).astype(np.float32)
            labels = self.corpus.labels[rows]
            write_held_out(
                folder / HELD_OUT, Evaluation(scores(log_prob, labels, 0.0), log_prob, labels, rows)
            )
        return self.runner.results.add(job, JobResult(score, 4, 3))

    def evidence(self, baseline: RIGSLConfig | None = CONFIGS[2]) -> Evidence:
        return gather_evidence(self.plan, self.runner, self.race, self.race.finalists[0], baseline)


def shuffled_test(corpus: Corpus) -> Corpus:
    """The corpus with other labels in test."""
    labels, rows = corpus.labels.copy(), corpus.rows(corpus.dialogues("test"))
    labels[rows] = np.random.default_rng(1).permutation(labels[rows])
    return dataclasses.replace(corpus, labels=labels)


def test_scores_on_folds_come_with_those_on_dev(tmp_path: Path) -> None:
    stage = Stage(tmp_path, folds=3)
    evidence = stage.evidence()
    assert evidence.folds
    assert evidence.winner == 0
    assert evidence.finalists[0].scores == {
        number: stage.race.finalists[0].scores[block.seed] for number, block in enumerate(stage.blocks)
    }
    assert evidence.left_out == pytest.approx((0.5, 0.498, 0.496))
    assert evidence.tests == evidence.baseline_tests == (0.55, 0.56)
    assert [len(group) for group in evidence.repeated] == [2, 2, 3, 3]
    assert evidence.epoch_bias is None
    assert evidence.suits_dev is None
    assert evidence.prior_effect is not None


def test_noise_on_folds_is_that_of_their_dialogues(tmp_path: Path) -> None:
    stage = Stage(tmp_path, folds=3)
    noise, corpus = stage.evidence().dialogues, stage.corpus
    assert noise.scored is not None
    assert noise.test is not None
    train, test = (len(corpus.dialogues(split)) for split in ("train", "test"))
    assert noise.test == pytest.approx(noise.scored * np.sqrt(train / test), rel=0.1)


def test_on_dev_the_best_epoch_and_the_class_frequencies_are_measured(tmp_path: Path) -> None:
    stage = Stage(tmp_path, folds=0)
    evidence, corpus = stage.evidence(), stage.corpus
    assert not evidence.folds
    assert evidence.left_out == ()
    assert evidence.suits_dev is not None
    assert evidence.searched_on_dev
    assert evidence.epoch_bias == pytest.approx(np.mean([*evidence.tests, *_all_scores(evidence)]) - 0.35)
    shares, effects = np.array(evidence.prior_shift.train), []
    for seed in stage.plan.final_seeds.tests:
        torch.manual_seed(seed)
        result = evaluate(RIGSL(CONFIGS[0].replace(seed=seed), corpus.schema), corpus, "dev")
        counts = confusion_matrix(result.labels, result.log_prob.argmax(axis=1), 7)
        support = np.maximum(counts.sum(axis=1), 1)
        effects.append(weighted_f1(counts * (shares / support)[:, None]) - result.scores.weighted_f1)
    assert evidence.prior_effect == pytest.approx(np.mean(effects))


def _all_scores(evidence: Evidence) -> list[float]:
    return [score for finalist in evidence.finalists for score in finalist.scores.values()]


@pytest.mark.parametrize("folds", [3, 0])
def test_labels_of_test_are_not_read(tmp_path: Path, folds: int) -> None:
    first = Stage(tmp_path / "first", folds).evidence()
    second = Stage(tmp_path / "second", folds, shuffled_test(make_corpus())).evidence()
    assert first == second


def test_a_baseline_that_won_and_one_that_is_missing_have_no_trainings_of_their_own(tmp_path: Path) -> None:
    stage = Stage(tmp_path, folds=0)
    for baseline in (None, CONFIGS[0].replace(seed=7)):
        evidence = stage.evidence(baseline)
        assert evidence.baseline_tests == ()
        assert evidence.suits_dev is None


def test_search_scores_on_a_fold_beside_dev_are_not_compared_with_scores_on_dev(tmp_path: Path) -> None:
    stage = Stage(tmp_path, folds=0)
    stage.plan = dataclasses.replace(stage.plan, validation_folds=3)
    assert not stage.evidence().searched_on_dev


def test_a_winner_without_a_score_leaves_no_finalists(tmp_path: Path) -> None:
    stage = Stage(tmp_path, folds=3)
    stage.race.finalists[0].scores.clear()
    assert stage.evidence().finalists == ()


def test_the_best_epoch_is_compared_with_those_beside_it(tmp_path: Path) -> None:
    jobs = [make_job("", CONFIGS[0], seed) for seed in (1, 2, 3)]
    curves = [[0.1, 0.5, 0.3], [0.4, 0.6], [0.6]]
    for job, curve in zip(jobs, curves, strict=True):
        (tmp_path / job.name).mkdir()
        write_curve(tmp_path / job.name, [{"val_weighted_f1": value} for value in curve])
    assert epoch_bias(tmp_path, jobs) == pytest.approx((0.3 + 0.2) / 2)
    assert epoch_bias(tmp_path, jobs[2:]) is None
    assert epoch_bias(tmp_path, [make_job("", CONFIGS[1], 1)]) is None
