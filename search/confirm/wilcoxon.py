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
    pairs: int  #: number of pairs that differ; equal pairs are left out
    smallest_possible_p: float  #: if all of these pairs differed in the same direction


def wilcoxon(differences: Sequence[float] | Floats) -> SignedRank:
    """Whether the median of paired differences is 0; p = 1 if all of them are 0."""
    values = np.asarray(differences, dtype=np.float64)
    pairs = int(np.count_nonzero(values))
    if not pairs:
        return SignedRank(1.0, 0.0, 0, 1.0)
    from scipy import stats  # only where it is used: a search starts fast

    result = stats.wilcoxon(values)
    return SignedRank(float(result.pvalue), float(result.statistic), pairs, min(1.0, 2.0 ** (1 - pairs)))


def seed_wilcoxon(winner: SeedRuns, baseline: SeedRuns) -> SignedRank | None:
    """Over seeds: weighted F1 of winner minus baseline at the same seed; None if the seeds differ.

    With 5 seeds, p cannot be below 0.0625 whatever the difference; 6 seeds can reach 0.05. So this test has
    little power; `dialogue_wilcoxon` and `f1_difference` have more.
    """
    check_paired(winner, baseline)
    if winner.seeds != baseline.seeds:
        return None
    sides = [weighted_f1(dialogue_confusions(runs).sum(axis=1)) for runs in (winner, baseline)]
    return wilcoxon(sides[0] - sides[1])


def dialogue_wilcoxon(winner: SeedRuns, baseline: SeedRuns) -> SignedRank:
    """Over dialogues: accuracy of winner minus baseline in a dialogue, mean over seeds.

    Accuracy, since an F1 of so few utterances means little. All dialogues have the same weight.
    """
    check_paired(winner, baseline)
    trainings = len(winner.seeds), len(baseline.seeds)
    # In whole numbers up to the division: equal differences must be equal floats, as they share a rank.
    correct = _correct(winner) * trainings[1] - _correct(baseline) * trainings[0]
    return wilcoxon(correct / (trainings[0] * trainings[1] * np.diff(winner.offsets)))


def _correct(runs: SeedRuns) -> Integers:
    """Number of correct predictions in every dialogue, summed over the trainings [n]."""
    correct = (runs.predicted == runs.labels).sum(axis=0)
    return np.add.reduceat(correct, runs.offsets[:-1])
