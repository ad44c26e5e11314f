"""Finalists: the best configurations of a search run again with fresh seeds, and the best mean wins.

A search's best score is the luckiest of many: of configurations, of epochs, of one seed. So its top k
distinct configurations are trained again to the last epoch with n seeds that no trial had, and their mean
validation scores decide. A finalist that cannot win any more is stopped: when, after two seeds or more, the
upper end of the one-sided 99 % interval of its difference to the leader lies below zero (99 %, as everyone
is looked at again after every seed). The difference is paired by seed, its variance pooled over all finalists
(the residual of score = finalist + seed), as in races of algorithm configurations (Birattari et al., GECCO
2002); with fewer than three degrees of freedom nobody is stopped.
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
from search.confirm.final_record import FinalistRecord
from search.confirm.summary import summary
from search.confirm.trainings import Job, Result
from search.record import record

#: One-sided level at which a finalist is given up, by default.
LEVEL = 0.99
#: Degrees of freedom below which the pooled deviation is too much of a guess.
LEAST_FREEDOM = 3


@dataclass
class Finalist:
    """A configuration in the final."""

    trial: int  #: of the search
    config: RIGSLConfig  #: to the last epoch; the seed is the job's
    params: Mapping[str, Any]
    search_score: float
    complete: bool  #: whether its trial ended by itself
    scores: dict[int, float] = field(default_factory=dict)  #: seed -> validation weighted F1
    failure: str = ""
    stopped: str = ""  #: why the race gave it up

    @property
    def out(self) -> bool:
        """Whether it cannot win any more."""
        return bool(self.failure or self.stopped)

    @property
    def mean(self) -> float:
        """Mean over its seeds so far."""
        return float(np.mean(list(self.scores.values()))) if self.scores else -math.inf

    @property
    def spread(self) -> float:
        """Standard deviation over its seeds so far; 0 for one."""
        return float(np.std(list(self.scores.values()), ddof=1)) if len(self.scores) > 1 else 0.0

    @property
    def key(self) -> str:
        """Tells configurations apart whatever their seed."""
        return identity(self.config)

    def record(self, seeds: Sequence[int], winner: bool) -> FinalistRecord:
        """As ``final.json`` holds it."""
        known = summary(list(self.scores.values())) if self.scores else None
        state = "failed" if self.failure else "stopped" if self.stopped else "finished"
        return FinalistRecord(
            trial=self.trial,
            config_hash=self.key,
            params=dict(self.params),
            search_score=self.search_score,
            complete=self.complete,
            scores=tuple(self.scores.get(seed) for seed in seeds[: len(self.scores)]),
            mean=None if known is None else known.mean,
            std=None if known is None else known.std,
            standard_error=None if known is None else known.standard_error,
            state="winner" if winner else state,
            reason=self.failure or self.stopped,
        )


def identity(config: RIGSLConfig) -> str:
    """A configuration's hash, its seed aside."""
    return config.replace(seed=0).content_hash()


def top(study: optuna.Study, configs: Mapping[int, RIGSLConfig], count: int) -> list[Finalist]:
    """The `count` best distinct configurations of a study: by score, complete ones first among equals.

    Args:
        configs: trial number -> configuration to the last epoch.
    """
    trials = record.scored(study)
    trials.sort(
        key=lambda trial: (-(record.score(trial) or 0.0), trial.state != TrialState.COMPLETE, trial.number)
    )
    found: dict[str, Finalist] = {}
    for trial in trials:
        one = Finalist(
            trial.number, configs[trial.number], trial.params, record.score(trial) or 0.0,
            trial.state == TrialState.COMPLETE,
        )  # fmt: skip
        found.setdefault(one.key, one)
        if len(found) == count:
            break
    return list(found.values())


class Race:
    """A queue of jobs: seed after seed, every finalist that can still win.

    Args:
        finalists: in the order of the search.
        seeds: that each of them is trained with.
        level: one-sided level at which a finalist is given up; 1: never.
    """

    def __init__(self, finalists: Sequence[Finalist], seeds: Sequence[int], level: float = LEVEL) -> None:
        self.finalists, self.seeds, self.level = list(finalists), list(seeds), level
        self._begun = {one.key: 0 for one in self.finalists}
        self._of: dict[str, tuple[Finalist, int]] = {}

    def next(self) -> Job | None:
        """The job of the finalist with the fewest seeds begun, the best of the search first."""
        open_ = [one for one in self.finalists if not one.out and self._begun[one.key] < len(self.seeds)]
        return self._job(min(open_, key=lambda one: self._begun[one.key])) if open_ else None

    def ended(self, job: Job, result: Result) -> None:
        """Note the score, and give up who cannot win any more."""
        one, seed = self._of[job.name]
        if result.score is None:
            one.failure = one.failure or f"seed {seed}: {result.reason}"
        else:
            one.scores[seed] = result.score
        self._give_up()

    def ranked(self) -> list[Finalist]:
        """The finalists, the winner first: mean, then the lower spread, then the order of the search."""

        def rank(one: Finalist) -> tuple[bool, bool, float, float]:
            return bool(one.failure), bool(one.stopped), -one.mean, one.spread

        return sorted(self.finalists, key=rank)

    def winner(self) -> Finalist | None:
        """The finalist that won; None where all failed."""
        first = self.ranked()[0] if self.finalists else None
        return None if first is None or first.failure or not first.scores else first

    def _alive(self) -> list[Finalist]:
        return [one for one in self.finalists if not one.out]

    def _job(self, one: Finalist) -> Job:
        seed = self.seeds[self._begun[one.key]]
        self._begun[one.key] += 1
        job = Job(f"{one.key[:12]}-{seed}", f"trial {one.trial}, seed {seed}", one.config.replace(seed=seed))
        self._of[job.name] = one, seed
        return job

    def _give_up(self) -> None:
        alive = [one for one in self._alive() if len(one.scores) >= 2]
        if len(alive) < 2:
            return
        leader = max(alive, key=lambda one: one.mean)
        for one in alive:
            bound = upper_bound(one, leader, self.finalists, self.level)
            if one is not leader and bound is not None and bound < 0:
                behind = f"{-100 * bound:.2f} points or more behind trial {leader.trial}"
                one.stopped = f"after {len(one.scores)} seeds: {behind}"


def upper_bound(
    one: Finalist, leader: Finalist, finalists: Sequence[Finalist], level: float = LEVEL
) -> float | None:
    """The upper end of the one-sided interval of `one` less `leader`, over the seeds that both have."""
    common = sorted(one.scores.keys() & leader.scores.keys())
    spread = pooled_deviation(finalists)
    if len(common) < 2 or spread is None or spread[1] < LEAST_FREEDOM:
        return None
    deviation, freedom = spread
    difference = float(np.mean([one.scores[seed] - leader.scores[seed] for seed in common]))
    from scipy import stats  # only where it is used: a search starts fast

    return difference + float(stats.t.ppf(level, freedom)) * deviation * math.sqrt(2 / len(common))


def pooled_deviation(finalists: Sequence[Finalist]) -> tuple[float, int] | None:
    """Residual standard deviation of score = finalist + seed, by least squares, and its degrees of freedom.

    None where there are no more scores than terms.
    """
    rows = [(i, seed, score) for i, one in enumerate(finalists) for seed, score in one.scores.items()]
    names = sorted({i for i, _, _ in rows}), sorted({seed for _, seed, _ in rows})
    terms = len(names[0]) + len(names[1]) - 1
    if len(rows) <= terms:
        return None
    design = np.zeros((len(rows), terms))
    for row, (i, seed, _) in enumerate(rows):
        design[row, names[0].index(i)] = 1
        if place := names[1].index(seed):  # the first seed is the reference
            design[row, len(names[0]) + place - 1] = 1
    scores = np.array([score for _, _, score in rows])
    fitted, *_ = np.linalg.lstsq(design, scores, rcond=None)
    freedom = len(rows) - int(np.linalg.matrix_rank(design))
    residual = float(np.sum((scores - design @ fitted) ** 2))
    return (math.sqrt(residual / freedom), freedom) if freedom > 0 else None
