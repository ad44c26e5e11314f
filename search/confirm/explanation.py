"""The explanation of a winner: the path from the baseline to it, one change at a time, trained for real.

Every configuration on the path is trained under the finals' blocks, without the race: nobody is dropped.
What the finals have trained already counts. The explanation chooses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import optuna

from rigsl.config import RIGSLConfig
from rigsl.wording import counted
from search.confirm.final_record import ConfigurationRecord, ExplanationRecord, StepRecord
from search.confirm.race import Finalist, pooled_deviation, upper_bound
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import Block, Job, make_job
from search.plan.plan import Plan
from search.trust.path import ablation_path, changes_between
from search.trust.surrogate import predictor

#: One-sided confidence level at which a configuration on the path is worse than the winner.
LEVEL = 0.95


class Explanation:
    """The path of one study.

    Args:
        plan: of the study.
        study: its record.
        blocks: of its finals.
        baseline: the first start point.
        winner: of the study.
    """

    def __init__(
        self,
        plan: Plan,
        study: optuna.Study,
        blocks: Sequence[Block],
        baseline: ConfigurationRecord,
        winner: ConfigurationRecord,
    ) -> None:
        self.blocks = list(blocks)
        path = ablation_path(plan.space, baseline.params, winner.params, predictor(study, plan.space))
        inner = [plan.space.config(params, plan.seed, epochs=plan.epochs) for params in path[1:-1]]
        ends = [RIGSLConfig(**one.config) for one in (baseline, winner)]
        configs = [ends[0], *inner, *ends[1:]] if len(path) > 1 else ends[:1]
        self.steps = [
            Finalist(number, config, params, 0.0, complete=True)
            for number, (config, params) in enumerate(zip(configs, path, strict=True))
        ]

    def jobs(self) -> list[Job]:
        """All trainings, one block of all steps after another."""
        return [
            make_job(f"explanation, step {step.trial}", step.config, block)
            for block in self.blocks
            for step in self.steps
        ]

    def in_words(self) -> str:
        """What is trained."""
        changes, seeds = counted(len(self.steps) - 1, "change"), counted(len(self.blocks), "seed")
        return f"explanation: from the baseline to the winner in {changes}, each with {seeds}"

    def record(self, trainings: TrainingRunner) -> ExplanationRecord:
        """What every change gained, and the simplest configuration that is not worse than the winner."""
        for step in self.steps:
            for block in self.blocks:
                result = trainings.results.get(make_job("", step.config, block))
                if result is not None and (score := block.score(result)) is not None:
                    step.scores[block.seed] = score
        pooled = pooled_deviation(self.steps)
        return ExplanationRecord(
            steps=tuple(
                self._step(number, None if pooled is None else pooled[0]) for number in range(len(self.steps))
            ),
            simplest=self._simplest(),
            trainings=len({job.name for job in self.jobs()}),
        )

    def _step(self, number: int, deviation: float | None) -> StepRecord:
        step, before = self.steps[number], self.steps[max(0, number - 1)]
        common = sorted(step.scores.keys() & before.scores.keys())
        gain = error = None
        if number and common:
            gain = float(np.mean([step.scores[seed] - before.scores[seed] for seed in common]))
            error = None if deviation is None else deviation * math.sqrt(2 / len(common))
        return StepRecord(
            changes=changes_between(before.params, step.params),
            params=dict(step.params),
            scores=tuple(step.scores.get(block.seed) for block in self.blocks),
            mean=step.mean if step.scores else None,
            gain=gain,
            error=error,
        )

    def _simplest(self) -> int | None:
        """The first step that is not worse than the winner beyond noise; None: noise is not known."""
        winner = self.steps[-1]
        for number, step in enumerate(self.steps[:-1]):
            bound = upper_bound(step, winner, self.steps, LEVEL) if step.scores else -1.0
            if bound is None:
                return None
            if bound >= 0:
                return number
        return len(self.steps) - 1
