"""The field's protocol: train on train + dev, report the best test epoch. Optimistic."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.wording import counted
from search.confirm import summary
from search.confirm.final_record import PaperRecord, PaperScores, read_final_record, write_final_record
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import JobList, make_job
from search.plan.plan import Plan


def paper_scores(
    plan: Plan,
    trainings: TrainingRunner,
    sides: Mapping[str, RIGSLConfig],
    seeds: Sequence[int],
    on_phase: Callable[[str], object],
) -> PaperRecord | None:
    """Train every side with every seed by the field's protocol; the record says first that test is opened.

    None if the user interrupted the trainings: the scores of some would pass for those of all.

    Args:
        plan: of the study.
        trainings: of its final stage.
        sides: "winner" and, if there is one, "baseline" -> configuration.
        seeds: of the trainings.
        on_phase: called with a sentence when the trainings begin.
    """
    jobs = {
        side: [make_job(f"best test epoch, {side}", config, seed, "paper-") for seed in seeds]
        for side, config in sides.items()
    }
    distinct = {job.name: job for side_jobs in jobs.values() for job in side_jobs}
    if trainings.missing(distinct.values()):
        each = counted(len(seeds), "training")
        what = f"{each} each of {' and '.join(jobs)}, tested after every epoch"
        write_final_record(plan.folder, read_final_record(plan.folder).opened(what, "paper"))
    on_phase("best test epochs on train + dev (the field's protocol; optimistic)")
    trainings.train(JobList(distinct.values()), best_test_epoch(plan.corpus))
    if trainings.missing(distinct.values()):
        return None
    scores = {side: trainings.scores(side_jobs) for side, side_jobs in jobs.items()}
    records = {side: _paper_scores(values) for side, values in scores.items() if values}
    return PaperRecord(tuple(seeds), records.get("winner"), records.get("baseline"))


def _paper_scores(values: Sequence[float]) -> PaperScores:
    scores = summary.summary(values)
    return PaperScores(scores.values, scores.mean, scores.std)


def best_test_epoch(corpus: Corpus) -> Corpus:
    """The corpus of the field's protocol: train and dev are trained on, the best epoch is chosen on test."""
    splits = np.where(corpus.splits == 2, 1, 0).astype(corpus.splits.dtype)  # 0: train, 1: dev, 2: test
    splits.flags.writeable = False
    return dataclasses.replace(corpus, name=f"{corpus.name} (best test epoch)", splits=splits)
