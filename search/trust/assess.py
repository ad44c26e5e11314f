"""Whether a search can be trusted: all checks, and what is expected of test, before test is opened."""

from __future__ import annotations

import math
from datetime import datetime

import optuna

from search.space.space import Space
from search.trust import checks
from search.trust.evidence import Evidence
from search.trust.expectation import expected_score, fit_finals
from search.trust.overtuning import overtuning_curve, rank_correlation
from search.trust.surrogate import SurrogateFit, surrogate_fit
from search.trust.trust_record import TrustRecord
from search.trust.variance import VarianceFit


def assess(evidence: Evidence, study: optuna.Study, space: Space, openings: int = 0) -> TrustRecord:
    """All checks, and the expected test score.

    Args:
        evidence: what the final stage knows.
        study: the record of the search.
        space: its space.
        openings: of test so far.
    """
    fit, surrogate = fit_finals(evidence), surrogate_fit(study, space)
    means = [] if fit is None or not evidence.finalists else fit.means.tolist()
    known = evidence.finalists if means else ()
    correlation = rank_correlation(known, means)
    expected, unexpected = expected_score(evidence, fit)
    shift = evidence.prior_shift
    return TrustRecord(
        at=datetime.now().astimezone().isoformat(timespec="seconds"),
        openings=openings,
        checks=(
            checks.noise_check(evidence, fit),
            checks.reliability_check(evidence, fit),
            checks.first_two_check(evidence, fit),
            checks.left_to_win_check(evidence, fit, surrogate),
            checks.overtuning_check(evidence, fit, correlation),
            checks.surrogate_check(surrogate),
            checks.prior_check(shift, evidence.prior_effect, evidence.folds),
        ),
        expected=expected,
        unexpected=unexpected,
        numbers={
            **_of_finals(evidence, fit),
            **_of_search(surrogate),
            "overtuning_rank_correlation": correlation,
            "dialogue_error_test": evidence.dialogues.test,
            "prior_distance": None if shift is None else shift.distance,
            "prior_distance_by_chance": None if shift is None else shift.chance,
        },
        curve=overtuning_curve(study, known, means),
    )


def _of_finals(evidence: Evidence, fit: VarianceFit | None) -> dict[str, float | None]:
    if fit is None:
        return {}
    numbers: dict[str, float | None] = {"seed_deviation": math.sqrt(fit.residual)}
    if (block := fit.block_variance) is not None:
        numbers["fold_deviation"] = math.sqrt(block)
    if len(evidence.finalists) > 1:
        numbers |= {
            "finalist_deviation": math.sqrt(fit.between),
            "reliability": checks.ranking_reliability(evidence, fit),
            "trainings_each": checks.ranking_trainings(evidence),
            "further_trainings": checks.further_trainings(evidence, fit),
            "left_among_finalists": fit.regret(0),
        }
    return numbers


def _of_search(fit: SurrogateFit | None) -> dict[str, float | None]:
    if fit is None:
        return {}
    return {
        "surrogate_rank_correlation": fit.correlation,
        "surrogate_rank_correlation_better_half": fit.better_half,
        "left_by_surrogate": fit.gain,
    }
