"""The field's protocol: what it reports, and what it does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rigsl.data.corpus import Corpus
from search.confirm.final_record import read_final_record
from search.confirm.paper import paper_scores
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import JobResult, Queue
from search.run_folder import TRAININGS
from search.space.confirmation import FinalOptions
from tests.helpers.run_folders import make_plan
from tests.search.confirm.test_evidence import CONFIGS
from tests.search.confirm.test_trainings import Watcher


class Runner(TrainingRunner):
    """Its trainings end at once, and it is interrupted after so many."""

    left = 0

    def train(self, queue: Queue, corpus: Corpus) -> None:
        while self.left and (job := queue.next()) is not None:
            if self.results.get(job) is None:
                self.results.add(job, JobResult(job.config.seed / 10, 3, 2))
                self.left -= 1


def test_an_interrupted_protocol_has_no_score(tmp_path: Path) -> None:
    """The mean of those that have ended would pass for that of all."""
    plan = dataclasses.replace(make_plan(tmp_path), final=FinalOptions(folds=0, protocol="paper"))
    (plan.folder / TRAININGS).mkdir()
    runner = Runner(plan.folder, plan.workers, None, Watcher(), lambda: False)
    sides, phases = {"winner": CONFIGS[0], "baseline": CONFIGS[1]}, []
    runner.left = 3
    assert paper_scores(plan, runner, sides, [1, 2], phases.append) is None
    runner.left = 1
    scores = paper_scores(plan, runner, sides, [1, 2], phases.append)
    assert scores.winner.values == scores.baseline.values == (0.1, 0.2)
    assert scores.winner.mean == pytest.approx(0.15)
    assert [opening.protocol for opening in read_final_record(plan.folder).openings] == ["paper"] * 2
    assert paper_scores(plan, runner, sides, [1, 2], phases.append) == scores
    assert len(read_final_record(plan.folder).openings) == 2, "nothing was missing"
