"""Wilcoxon's signed-rank test of winner against baseline, over seeds and over dialogues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rigsl.training.scores import weighted_f1
from search.confirm.predictions import Floats, Integers, SeedRuns, check_paired, dialogue_confusions


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of paired differences, two-sided."""

    p: float
    statistic: float
    pairs: int  #: that differ, without which the test does
    smallest_possible_p: float  #: with so many pairs, if all differed in the same direction


def wilcoxon(differences: Sequence[float] | Floats) -> SignedRank:
    """Whether paired differences lie on one side of 0; p = 1 where none differs."""
    given = np.asarray(differences, dtype=np.float64)
    pairs = int(np.count_nonzero(given))
    if not pairs:
        return SignedRank(1.0, 0.0, 0, 1.0)
    from scipy import stats  # only where it is used: a search starts fast

    found = stats.wilcoxon(given)
    return SignedRank(float(found.pvalue), float(found.statistic), pairs, min(1.0, 2.0 ** (1 - pairs)))


def seed_wilcoxon(winner: SeedRuns, baseline: SeedRuns) -> SignedRank | None:
    """Over seeds: weighted F1 of winner less baseline at the same seed; None where the seeds differ.

    With 5 seeds p cannot be below 0.0625, whatever the difference: it takes 6 to reach 0.05. So this says
    little; `dialogue_wilcoxon` and `f1_difference` say more.
    """
    check_paired(winner, baseline)
    if winner.seeds != baseline.seeds:
        return None
    sides = [weighted_f1(dialogue_confusions(runs).sum(axis=1)) for runs in (winner, baseline)]
    return wilcoxon(sides[0] - sides[1])


def dialogue_wilcoxon(winner: SeedRuns, baseline: SeedRuns) -> SignedRank:
    """Over dialogues: share of utterances that are right, mean over seeds, of winner less baseline.

    An F1 of so few utterances means little, so this is about accuracy, a dialogue as much as another.
    """
    check_paired(winner, baseline)
    trainings = len(winner.seeds), len(baseline.seeds)
    # In whole numbers up to the division: equal differences must be equal floats, as they share a rank.
    right = _right(winner) * trainings[1] - _right(baseline) * trainings[0]
    return wilcoxon(right / (trainings[0] * trainings[1] * np.diff(winner.offsets)))


def _right(runs: SeedRuns) -> Integers:
    """Right utterances of every dialogue, all trainings together [n]."""
    right = (runs.predicted == runs.labels).sum(axis=0)
    return np.add.reduceat(right, runs.offsets[:-1])
