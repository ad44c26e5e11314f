"""The score that a configuration's trainings are expected to have on test, with a 95 % interval.

It starts from the winner's mean in the finals, drawn towards that of all finalists (`variance`). Where the
finals are scored on folds, the trainings for the test have more to learn from: all of train. What that adds
is measured on dev, as the difference of trainings of the same configuration, in which the luck of dev and of
the best epoch cancel. Where the finals are scored on dev, the luck of the best epoch is taken off, and dev is
reweighted to the class frequencies of train, which test is assumed to have. And configurations were chosen
that suit the very dialogues of dev, which fresh seeds do not undo: how much they do is estimated from the
luck of the seed that the same choice has picked (search score less mean over fresh seeds).

The interval is for the mean that will be measured: its errors are those of the winner's mean, of the
corrections, of the dialogues on which it was measured, of test's dialogues, and of the tested seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rigsl.wording import percent, points
from search.trust.evidence import Evidence
from search.trust.trust_record import ExpectedScore
from search.trust.variance import VarianceFit, fit_variances

#: Half the width of a 95 % interval, in standard errors.
NORMAL_95 = 1.959964
#: The best of some hundred normal numbers is so many standard deviations above their mean.
MOST_LUCK = 2.5


def fit_finals(evidence: Evidence) -> VarianceFit | None:
    """The finalists' variance components; on dev, the winner's trainings for the test are more of the same.

    None: there are too few scores.
    """
    scores = [dict(finalist.scores) for finalist in evidence.finalists]
    if not evidence.folds and evidence.tests:
        first = {-1 - number: score for number, score in enumerate(evidence.tests)}
        scores = [scores[0] | first, *scores[1:]] if scores else [first]
    return fit_variances(scores, blocked=evidence.folds) if scores else None


def expected_score(evidence: Evidence, fit: VarianceFit | None) -> tuple[ExpectedScore | None, str]:
    """What is expected of test; or None, and the sentence why nothing is."""
    if reason := _reason(evidence, fit):
        return None, reason
    assert fit is not None
    corrections, errors = _corrections(evidence, fit)
    variance = float(fit.covariance[0, 0]) * fit.inflation
    residual = fit.residual * fit.inflation
    errors = {
        "the winner's mean": math.sqrt(variance),
        **errors,
        "dialogues scored on": _scored_on(evidence, fit),
        "dialogues of test": evidence.dialogues.test or 0.0,
        "seeds on test": math.sqrt(residual / len(evidence.tests)),
    }
    mean = float(fit.means[0]) + sum(corrections.values())
    error = math.sqrt(sum(value**2 for value in errors.values()))
    return (
        ExpectedScore(
            mean=mean,
            low=max(0.0, mean - NORMAL_95 * error),
            high=min(1.0, mean + NORMAL_95 * error),
            standard_error=error,
            corrections=corrections,
            errors=errors,
        ),
        "",
    )


def _reason(evidence: Evidence, fit: VarianceFit | None) -> str:
    """Why nothing can be expected; empty: something can."""
    if not evidence.tests:
        return (
            "a single checkpoint is tested that was chosen for its validation score, which says little of "
            "test; give --test-seeds 2 or more"
        )
    if fit is None:
        return (
            "the spread of the winner's trainings is not known from so few of them; give --finalists 2 and "
            "--finalist-seeds 2, or more"
        )
    if evidence.folds and (not evidence.left_out or seed_deviation(evidence.repeated)[1] < 1):
        return (
            "what trainings on all of train gain over those without a fold is not known from so few of them; "
            "give --test-seeds 2 or more"
        )
    if evidence.dialogues.test is None:
        return "there are too few dialogues for their sampling noise"
    return ""


def _corrections(evidence: Evidence, fit: VarianceFit) -> tuple[dict[str, float], dict[str, float]]:
    """What is added to the winner's mean, and the standard errors of that."""
    if evidence.folds:
        gain = float(np.mean(evidence.tests) - np.mean(evidence.left_out))
        trainings = 1 / len(evidence.tests) + 1 / len(evidence.left_out)
        return {"all of train": gain}, {"all of train": math.sqrt(_seed_variance(evidence) * trainings)}
    corrections, errors = {}, {}
    if luck := _luck_on_dev(evidence, fit):
        corrections["chosen on dev"], errors["chosen on dev"] = -luck, luck / 2
    if evidence.epoch_bias is not None:
        corrections["best epoch on dev"] = -evidence.epoch_bias
    if evidence.prior_effect is not None:
        corrections["class frequencies of dev"] = evidence.prior_effect
    return corrections, errors


def _luck_on_dev(evidence: Evidence, fit: VarianceFit) -> float:
    """How much more the winner suits the dialogues of dev than other dialogues, as it was chosen there.

    A choice by the sum of two independent parts gains in each in proportion to its variance. What the search
    gained in the luck of seeds is known; the finals have chosen once more, among the finalists.
    """
    if not evidence.suits_dev or not evidence.finalists or fit.residual <= 0:
        return 0.0
    variance = evidence.suits_dev**2
    optimism = [one.search_score - float(np.mean([*one.scores.values()])) for one in evidence.finalists]
    by_search = max(0.0, float(np.mean(optimism))) * variance / fit.residual
    if not evidence.searched_on_dev:
        by_search = 0.0  # search scores are on other utterances, too, and cannot be compared
    by_finals = float(fit.means[0] - fit.means.mean()) * variance / max(fit.between, variance)
    return min(by_search + by_finals, MOST_LUCK * evidence.suits_dev)


def _scored_on(evidence: Evidence, fit: VarianceFit) -> float:
    """Standard error of the finals' scores that all finalists share: of dialogues, at least, and of folds."""
    dialogues = evidence.dialogues.scored or 0.0
    variance = fit.block_variance
    return dialogues if variance is None else max(dialogues, math.sqrt(variance / len(fit.blocks)))


def _seed_variance(evidence: Evidence) -> float:
    """Variance of dev scores from seed to seed, pooled over groups; Student's t is allowed for."""
    deviation, freedom = seed_deviation(evidence.repeated)
    from scipy import stats  # only where it is used: a search starts fast

    return (deviation * float(stats.t.ppf(0.975, freedom)) / NORMAL_95) ** 2


def seed_deviation(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Pooled standard deviation within groups, and its degrees of freedom."""
    freedom = sum(len(group) - 1 for group in groups if group)
    squares = sum(float(np.sum((np.array(group) - np.mean(group)) ** 2)) for group in groups if group)
    return (math.sqrt(squares / freedom) if freedom else 0.0), freedom


def in_words(expected: ExpectedScore) -> str:
    """``61.60 % (95 % interval 59.01 to 64.19 %)``."""
    return f"{percent(expected.mean)} (95 % interval {100 * expected.low:.2f} to {percent(expected.high)})"


def against_tested(expected: ExpectedScore, tested: float) -> str:
    """How far the tested mean was off, and whether the interval holds it."""
    inside = expected.low <= tested <= expected.high
    where = "inside the interval" if inside else "outside the interval"
    return f"tested {percent(tested)}, {points(tested - expected.mean)} points, {where}"
