"""The race of the finalists: the best configurations of a search run again, and the best mean wins.

A search's best score is subject to selection bias: it is the best of many configurations, of many epochs, at
one seed, on one small dev split. So the top k distinct configurations are trained again to the last epoch
under n blocks. A block is a seed that no trial had and, where the corpus allows it, a fold of train: the
training leaves the fold out, chooses its epoch on dev, and is scored on the fold. The mean scores decide.
Blocks are the same for all finalists, so that they are compared in pairs.

Allocation: after HALVING blocks of each, only the better half of many finalists goes on, as in successive
halving (Jamieson and Talwalkar, AISTATS 2016).

Racing: hopeless finalists are dropped. A finalist is dropped when, after two blocks or more, the upper end of
the one-sided 99 % confidence interval of its difference to the leader lies below zero (99 %, because all are
tested again after every block). The difference is paired by block. Its variance is pooled over all finalists
(the residual variance of score = finalist + block), as in racing for algorithm configuration (Birattari et
al., GECCO 2002). With fewer than three degrees of freedom nobody is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from rigsl.config import RIGSLConfig
from rigsl.wording import counted
from search.confirm.final_record import FinalistRecord
from search.confirm.summary import summary
from search.confirm.trainings import Block, Job, JobResult, identity, make_job
from search.record import lineage, record

#: One-sided confidence level at which a finalist is dropped, by default.
LEVEL = 0.99
#: Blocks after which the worse half of the finalists ends, and finalists that go on at least.
HALVING, MIN_CONTENDERS = 2, 4
#: With fewer degrees of freedom, the pooled standard deviation is too uncertain.
MIN_FREEDOM = 3


@dataclass
class Finalist:
    """A configuration in the race."""

    trial: int  #: of the search
    config: RIGSLConfig  #: for training to the last epoch; every job has its own seed
    params: Mapping[str, Any]  #: the searched part of it
    search_score: float
    complete: bool  #: whether its trial reached its last epoch
    scores: dict[int, float] = field(default_factory=dict)  #: seed of a block -> its score
    failure: str = ""  #: why one of its trainings failed
    stopped: str = ""  #: why it was dropped

    @property
    def eliminated(self) -> bool:
        """Whether it has failed or was dropped."""
        return bool(self.failure or self.stopped)

    @property
    def mean(self) -> float:
        """Mean score over its blocks so far; -inf without any."""
        return float(np.mean(list(self.scores.values()))) if self.scores else -math.inf

    @property
    def spread(self) -> float:
        """Standard deviation over its blocks so far; 0 for a single one."""
        return float(np.std(list(self.scores.values()), ddof=1)) if len(self.scores) > 1 else 0.0

    @property
    def key(self) -> str:
        """Identifies its configuration, whatever the seed."""
        return identity(self.config)

    def record(self, seeds: Sequence[int], winner: bool) -> FinalistRecord:
        """Its entry in ``final.json``; `seeds`: of the race."""
        statistics = summary(list(self.scores.values())) if self.scores else None
        state = "failed" if self.failure else "stopped" if self.stopped else "finished"
        return FinalistRecord(
            trial=self.trial,
            config_hash=self.key,
            params=dict(self.params),
            search_score=self.search_score,
            complete=self.complete,
            scores=tuple(self.scores.get(seed) for seed in seeds[: len(self.scores)]),
            mean=None if statistics is None else statistics.mean,
            std=None if statistics is None else statistics.std,
            standard_error=None if statistics is None else statistics.standard_error,
            state="winner" if winner else state,
            reason=self.failure or self.stopped,
        )


def top(study: optuna.Study, configs: Mapping[int, RIGSLConfig], count: int) -> list[Finalist]:
    """The `count` best distinct configurations of a study: by score, complete ones first among equals.

    Args:
        study: with trials that have ended.
        configs: trial number -> configuration for training to the last epoch.
        count: of finalists at most.
    """
    trials = record.scored(study)
    trials.sort(
        key=lambda trial: (-(record.score(trial) or 0.0), trial.state != TrialState.COMPLETE, trial.number)
    )
    finalists: dict[str, Finalist] = {}
    everyone = study.get_trials(deepcopy=False)
    for trial in trials:
        finalist = Finalist(
            trial.number, configs[trial.number], lineage.owner(everyone, trial).params,
            record.score(trial) or 0.0, trial.state == TrialState.COMPLETE,
        )  # fmt: skip
        finalists.setdefault(finalist.key, finalist)
        if len(finalists) == count:
            break
    return list(finalists.values())


class Race:
    """A queue of jobs: one block after another, for every finalist that can still win.

    Args:
        finalists: in the order of the search.
        blocks: under which each of them is trained; their seeds differ.
        level: one-sided confidence level at which a finalist is dropped; 1: never.
        halving: whether only the better half of many finalists goes on after HALVING blocks.
    """

    def __init__(
        self,
        finalists: Sequence[Finalist],
        blocks: Sequence[Block],
        level: float = LEVEL,
        halving: bool = True,
    ) -> None:
        self.finalists, self.blocks, self.level = list(finalists), list(blocks), level
        self._started = {finalist.key: 0 for finalist in self.finalists}  #: number of blocks
        self._jobs: dict[str, tuple[Finalist, Block]] = {}  #: name of a job -> finalist, block
        self._halved = not halving or len(self.finalists) <= MIN_CONTENDERS

    @property
    def seeds(self) -> list[int]:
        """The seeds of the blocks."""
        return [block.seed for block in self.blocks]

    def next(self) -> Job | None:
        """The next job of the finalist with the fewest blocks so far, the best of the search first."""
        candidates = [
            finalist
            for finalist in self.finalists
            if not finalist.eliminated and self._started[finalist.key] < len(self.blocks)
        ]
        if not candidates:
            return None
        finalist = min(candidates, key=lambda finalist: self._started[finalist.key])
        if not self._halved and self._started[finalist.key] == HALVING:
            return None  # until the others have ended theirs
        return self._job(finalist)

    def ended(self, job: Job, result: JobResult) -> None:
        """Add the score, and drop hopeless finalists."""
        finalist, block = self._jobs[job.name]
        if (score := block.score(result)) is None:
            finalist.failure = finalist.failure or f"{block}: {result.reason}"
        else:
            finalist.scores[block.seed] = score
        self._drop_hopeless()
        self._halve()

    def trained(self) -> list[Job]:
        """The jobs that have ended well, in the order of the finalists and blocks."""
        jobs = {
            (finalist.key, block.seed): make_job(f"trial {finalist.trial}", finalist.config, block)
            for finalist, block in self._jobs.values()
        }
        return [
            jobs[finalist.key, seed]
            for finalist in self.finalists
            for seed in self.seeds
            if seed in finalist.scores
        ]

    def ranked(self) -> list[Finalist]:
        """The finalists, the winner first: by mean, then the lower spread, then the order of the search."""

        def rank(finalist: Finalist) -> tuple[bool, bool, float, float]:
            return bool(finalist.failure), bool(finalist.stopped), -finalist.mean, finalist.spread

        return sorted(self.finalists, key=rank)

    def winner(self) -> Finalist | None:
        """The finalist that won; None if all failed."""
        first = self.ranked()[0] if self.finalists else None
        return None if first is None or first.failure or not first.scores else first

    def _job(self, finalist: Finalist) -> Job:
        block = self.blocks[self._started[finalist.key]]
        self._started[finalist.key] += 1
        job = make_job(f"trial {finalist.trial}", finalist.config, block)
        self._jobs[job.name] = finalist, block
        return job

    def _halve(self) -> None:
        """End the worse half when all have their first blocks."""
        remaining = [finalist for finalist in self.finalists if not finalist.eliminated]
        if self._halved or any(len(finalist.scores) < HALVING for finalist in remaining):
            return
        self._halved = True
        contenders = max(MIN_CONTENDERS, math.ceil(len(self.finalists) / 2))
        for finalist in sorted(remaining, key=lambda finalist: -finalist.mean)[contenders:]:
            finalist.stopped = f"after {self._in_words(HALVING)}: not among the best {contenders}"

    def _in_words(self, count: int) -> str:
        """`count` blocks in words."""
        return counted(count, "seed" if self.blocks[0].fold is None else "fold")

    def _drop_hopeless(self) -> None:
        remaining = [
            finalist for finalist in self.finalists if not finalist.eliminated and len(finalist.scores) >= 2
        ]
        if len(remaining) < 2:
            return
        leader = max(remaining, key=lambda finalist: finalist.mean)
        for finalist in remaining:
            bound = upper_bound(finalist, leader, self.finalists, self.level)
            if finalist is not leader and bound is not None and bound < 0:
                behind = f"{-100 * bound:.2f} points or more behind trial {leader.trial}"
                finalist.stopped = f"after {self._in_words(len(finalist.scores))}: {behind}"


def upper_bound(
    finalist: Finalist, leader: Finalist, finalists: Sequence[Finalist], level: float = LEVEL
) -> float | None:
    """Upper end of the one-sided interval of a finalist's difference to the leader, over their common blocks.

    None while there are too few scores.
    """
    common = sorted(finalist.scores.keys() & leader.scores.keys())
    pooled = pooled_deviation(finalists)
    if len(common) < 2 or pooled is None or pooled[1] < MIN_FREEDOM:
        return None
    deviation, freedom = pooled
    difference = float(np.mean([finalist.scores[seed] - leader.scores[seed] for seed in common]))
    from scipy import stats  # only where it is used: a search starts fast

    return difference + float(stats.t.ppf(level, freedom)) * deviation * math.sqrt(2 / len(common))


def pooled_deviation(finalists: Sequence[Finalist]) -> tuple[float, int] | None:
    """Residual standard deviation of score = finalist + block, by least squares, and its degrees of freedom.

    None if there are no more scores than terms.
    """
    rows = [
        (i, seed, score) for i, finalist in enumerate(finalists) for seed, score in finalist.scores.items()
    ]
    indices, seeds = sorted({i for i, _, _ in rows}), sorted({seed for _, seed, _ in rows})
    terms = len(indices) + len(seeds) - 1
    if len(rows) <= max(terms, 0):
        return None
    design = np.zeros((len(rows), terms))
    for row, (i, seed, _) in enumerate(rows):
        design[row, indices.index(i)] = 1
        if column := seeds.index(seed):  # the first seed is the reference
            design[row, len(indices) + column - 1] = 1
    scores = np.array([score for _, _, score in rows])
    coefficients, *_ = np.linalg.lstsq(design, scores, rcond=None)
    freedom = len(rows) - int(np.linalg.matrix_rank(design))
    residual = float(np.sum((scores - design @ coefficients) ** 2))
    return (math.sqrt(residual / freedom), freedom) if freedom > 0 else None
