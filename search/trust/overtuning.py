"""Overtuning: what the best score so far on validation is worth where nothing was chosen by it.

A search that goes on after validation has nothing more to tell picks luck: its best score rises, the true one
does not (Schneider, Bischl and Feurer, AutoML 2025). The finals have other seeds and, on folds, other
dialogues. They know the finalists only, so the curve goes through those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import optuna

from search.record import record
from search.trust.evidence import FinalistEvidence
from search.trust.trust_record import CurvePoint

#: Finalists, below which nothing is said.
MIN_FINALISTS = 3


def overtuning_curve(
    study: optuna.Study, finalists: Sequence[FinalistEvidence], means: Sequence[float]
) -> tuple[CurvePoint, ...]:
    """The best finalist so far on validation, in the order in which the trials ended.

    Args:
        study: its record.
        finalists: with a score in the finals.
        means: their shrunken means.
    """
    ended = {trial.number: count for count, trial in enumerate(record.scored(study), start=1)}
    known: Mapping[int, tuple[float, float]] = {
        finalist.trial: (finalist.search_score, float(mean))
        for finalist, mean in zip(finalists, means, strict=True)
    }
    curve: list[CurvePoint] = []
    for trial in sorted(known, key=lambda number: ended.get(number, 0)):
        search_score, mean = known[trial]
        if not curve or search_score > curve[-1].search_score:
            curve.append(CurvePoint(trial, ended.get(trial, 0), search_score, mean))
    return tuple(curve)


def rank_correlation(finalists: Sequence[FinalistEvidence], means: Sequence[float]) -> float | None:
    """Spearman's, of search scores and means in the finals; None: there are too few, or all are equal."""
    from scipy import stats  # only where it is used: a search starts fast

    scores = [finalist.search_score for finalist in finalists]
    if len(scores) < MIN_FINALISTS or np.ptp(scores) == 0 or np.ptp(means) == 0:
        return None
    return float(stats.spearmanr(scores, means).statistic)
