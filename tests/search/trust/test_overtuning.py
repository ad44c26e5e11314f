"""The overtuning curve goes through the finalists that were the best so far on validation."""

from __future__ import annotations

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from search.trust.evidence import FinalistEvidence
from search.trust.overtuning import overtuning_curve, rank_correlation


def finalists(*scores: tuple[int, float]) -> list[FinalistEvidence]:
    return [FinalistEvidence(trial, score, {0: score}) for trial, score in scores]


def study_of(*scores: float) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for score in scores:
        study.add_trial(
            create_trial(params={"lr": 0.1}, distributions={"lr": FloatDistribution(0, 1)}, value=score)
        )
    return study


def test_the_best_so_far_on_validation_has_its_score_in_the_finals() -> None:
    known, means = finalists((4, 0.62), (1, 0.60), (2, 0.59), (3, 0.61)), [0.55, 0.58, 0.57, 0.56]
    curve = overtuning_curve(study_of(0.5, 0.60, 0.59, 0.61, 0.62), known, means)
    assert [(point.trial, point.trials) for point in curve] == [(1, 2), (3, 4), (4, 5)]
    assert [point.search_score for point in curve] == [0.60, 0.61, 0.62]
    assert [point.final_score for point in curve] == [0.58, 0.56, 0.55]


def test_ranks_of_search_and_finals_are_compared() -> None:
    known = finalists((0, 0.60), (1, 0.61), (2, 0.62))
    assert rank_correlation(known, [0.5, 0.6, 0.7]) == 1
    assert rank_correlation(known, [0.7, 0.6, 0.5]) == -1
    assert rank_correlation(known[:2], [0.5, 0.6]) is None
    assert rank_correlation(known, [0.5, 0.5, 0.5]) is None
