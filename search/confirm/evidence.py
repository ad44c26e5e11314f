"""What the final stage knows before test is opened, for `search.trust`; no test label is read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.device import threads
from rigsl.training.checkpoint import load_checkpoint
from rigsl.training.evaluation import evaluate
from rigsl.training.held_out import HeldOut
from rigsl.training.scores import weighted_f1
from search.confirm.predictions import Integers, SeedRuns, dialogue_confusions, seed_runs
from search.confirm.race import Finalist, Race
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import Job, identity, make_job
from search.plan.plan import Plan
from search.record.learning_curve import read_curve
from search.resources.workers import DRIVER_DEVICE
from search.trust.dialogues import f1_with_shares, standard_error
from search.trust.evidence import DialogueNoise, Evidence, FinalistEvidence
from search.trust.priors import PriorShift, prior_shift

VALIDATION = "val_weighted_f1"  #: of one epoch, in a learning curve


def gather_evidence(
    plan: Plan, trainings: TrainingRunner, race: Race, winner: Finalist, baseline: RIGSLConfig | None
) -> Evidence:
    """All that the final stage knows when its trainings have ended.

    Args:
        plan: of the study.
        trainings: of its final stage.
        race: which is over.
        winner: of the race, or of the search.
        baseline: None: there is none.
    """
    corpus, seeds = plan.corpus.without_test_labels(), plan.final_seeds.tests
    tested = [make_job("", winner.config, seed) for seed in seeds]
    others = [] if baseline is None or identity(baseline) == winner.key else [baseline]
    baseline_jobs = [make_job("", config, seed) for config in others for seed in seeds]
    raced = [one for one in race.ranked() if one.scores] if winner.scores else []
    ranked = sorted(raced, key=lambda one: one is not winner)
    jobs = [
        [make_job("", one.config, block) for block in race.blocks if block.seed in one.scores]
        for one in ranked
    ]
    folds = bool(race.blocks) and race.blocks[0].fold is not None
    shift, scores = prior_shift(corpus), trainings.scores
    suits_dev = None
    if folds:
        noise, effect = _on_folds(trainings, jobs[0] if jobs else [], corpus, shift)
    else:
        configs = (winner.config, *others)
        sides = [_dev_tables(plan, corpus, trainings.checkpoints(config, seeds)) for config in configs]
        tables, shares = [table for table in sides[:1] if table is not None], np.array(shift.train)
        noise, effect = _noise(tables, corpus, shares), _effect(tables, shares)
        suits_dev = _suits(sides)
    return Evidence(
        finalists=tuple(_evidence_of(one, race) for one in ranked),
        winner=winner.trial,
        folds=folds,
        tests=tuple(scores(tested)),
        baseline_tests=tuple(scores(baseline_jobs)),
        left_out=tuple(scores(jobs[0])) if folds and jobs else (),
        repeated=tuple(tuple(scores(group)) for group in (tested, baseline_jobs, *jobs) if scores(group)),
        dialogues=noise,
        suits_dev=suits_dev,
        searched_on_dev=not plan.validation_folds,
        epoch_bias=None if folds else epoch_bias(trainings.folder, [*tested, *itertools.chain(*jobs)]),
        prior_shift=shift,
        prior_effect=effect,
    )


def _evidence_of(finalist: Finalist, race: Race) -> FinalistEvidence:
    scores = {race.seeds.index(seed): score for seed, score in finalist.scores.items()}
    return FinalistEvidence(finalist.trial, finalist.search_score, scores, not finalist.eliminated)


def _on_folds(
    trainings: TrainingRunner, jobs: Sequence[Job], corpus: Corpus, shift: PriorShift
) -> tuple[DialogueNoise, float | None]:
    """Noise of the winner's scores on folds, and what the class frequencies of dev would do to them."""
    by_fold: dict[int | None, list[HeldOut]] = {}
    for job in jobs:
        by_fold.setdefault(job.fold, []).extend(trainings.held_out([job]))
    tables = [dialogue_confusions(_held_out_runs(parts, corpus)) for parts in by_fold.values() if parts]
    return _noise(tables, corpus), _effect(tables, np.array(shift.dev))


def _dev_tables(plan: Plan, corpus: Corpus, checkpoints: Mapping[int, Path]) -> Integers | None:
    """Confusion matrices on dev of every checkpoint and dialogue [m, n, k, k]; None: there are none."""
    if not checkpoints:
        return None
    with threads(plan.workers.cpus):
        evaluations = {
            seed: evaluate(load_checkpoint(path, device=DRIVER_DEVICE), corpus, "dev", device=DRIVER_DEVICE)
            for seed, path in checkpoints.items()
        }
    return dialogue_confusions(seed_runs(corpus, "dev", evaluations))


def _suits(sides: Sequence[Integers | None]) -> float | None:
    """How well a configuration suits dialogues beyond another one: standard deviation of a single one.

    Args:
        sides: confusion matrices of the winner, and of the baseline where there is one.
    """
    tables = [table for table in sides if table is not None]
    if len(tables) < 2:
        return None
    m = len(tables[0])
    error = standard_error(
        np.concatenate(tables),
        lambda counts: weighted_f1(counts)[..., :m].mean(-1) - weighted_f1(counts)[..., m:].mean(-1),
    )
    return None if error is None else error / math.sqrt(2)


def _held_out_runs(parts: Sequence[HeldOut], corpus: Corpus) -> SeedRuns:
    """Predictions of several trainings for the fold that all of them left out."""
    rows = parts[0].rows
    dialogue = np.repeat(np.arange(len(corpus.lengths)), corpus.lengths)[rows]
    offsets = np.concatenate([[0], 1 + np.flatnonzero(np.diff(dialogue)), [len(rows)]]).astype(np.int64)
    predicted = np.stack([part.log_prob.argmax(axis=1) for part in parts])
    return SeedRuns(predicted, corpus.labels[rows], offsets, corpus.classes, tuple(range(len(parts))))


def _noise(
    tables: Sequence[Integers], corpus: Corpus, shares: NDArray[np.float64] | None = None
) -> DialogueNoise:
    """Standard errors of a mean over parts of the corpus, and of a score on as many dialogues as test has.

    Args:
        tables: confusion matrices of each part. [m, n, k, k]
        corpus: with the test split, of which the size is read.
        shares: of the classes, to which scores are reweighted; None: as they are.
    """
    errors = [
        standard_error(table)
        if shares is None
        else standard_error(table, lambda counts: f1_with_shares(counts, shares))
        for table in tables
    ]
    known = [error for error in errors if error is not None]
    if not known or len(known) < len(errors):
        return DialogueNoise(None, None)
    test = len(corpus.dialogues("test"))
    single = [error**2 * table.shape[1] for error, table in zip(known, tables, strict=True)]
    scored = math.sqrt(sum(error**2 for error in known)) / len(known)
    return DialogueNoise(scored, math.sqrt(float(np.mean(single)) / test) if test else None)


def _effect(tables: Iterable[Integers], shares: NDArray[np.float64]) -> float | None:
    """How the mean score changes if the classes had these shares; None: there are no predictions."""
    counts = [table.sum(axis=1) for table in tables]  # [m, k, k]
    changes = [float((f1_with_shares(part, shares) - weighted_f1(part)).mean()) for part in counts]
    return float(np.mean(changes)) if changes else None


def epoch_bias(folder: Path, jobs: Iterable[Job]) -> float | None:
    """How far the best epoch on dev is above the mean of its neighbours, on average; None: not known.

    The best of many epochs is partly lucky; the epochs beside it are as well trained, and were not chosen.
    """
    biases = []
    for job in jobs:
        curve = [line[VALIDATION] for line in read_curve(folder / job.name) if VALIDATION in line]
        if len(curve) < 2:
            continue
        best = int(np.argmax(curve))
        neighbours = [curve[i] for i in (best - 1, best + 1) if 0 <= i < len(curve)]
        biases.append(curve[best] - float(np.mean(neighbours)))
    return float(np.mean(biases)) if biases else None
