"""The checks of a search: each with its figure, pass or warn, and one sentence of advice."""

from __future__ import annotations

import math

import numpy as np

from rigsl.wording import counted, points
from search.trust.evidence import Evidence
from search.trust.expectation import NORMAL_95, seed_deviation
from search.trust.overtuning import MIN_FINALISTS
from search.trust.priors import PriorShift
from search.trust.surrogate import MIN_TRIALS, SurrogateFit
from search.trust.trust_record import PASS, UNKNOWN, WARN, Check
from search.trust.variance import VarianceFit

#: A ranking is reliable from here on, and a correlation tells something.
RELIABLE, TELLING, PREDICTIVE = 0.8, 0.3, 0.5
#: More trainings of a configuration than this nobody will pay for.
MOST_TRAININGS = 50


def noise_check(evidence: Evidence, fit: VarianceFit | None) -> Check:
    """How much a score changes without a change of the configuration, against the lead on the baseline."""
    title, test = "noise floor", evidence.dialogues.test
    if fit is None:
        return _unknown(
            "noise", title, "every configuration was trained once only, so that its spread is unknown"
        )
    parts = [f"seed {_size(math.sqrt(fit.residual))}"]
    if (block := fit.block_variance) is not None:
        parts.append(f"fold {_size(math.sqrt(block))}")
    if test is not None:
        parts.append(f"dialogues of test {_size(test)}")
    figure = f"{', '.join(parts)} points (standard deviations)"
    seeds, (deviation, freedom) = len(evidence.tests), seed_deviation(evidence.repeated)
    deviation = deviation if freedom else math.sqrt(fit.residual)
    if not evidence.baseline_tests or not seeds:
        telling = NORMAL_95 * math.sqrt(2 * fit.residual / max(fit.counts[0], 1))
        trainings = counted(fit.counts[0], "training")
        advice = f"below {_size(telling)} points two configurations with {trainings} each are equal"
        return Check("noise", title, PASS, figure, advice)
    lead = float(np.mean(evidence.tests) - np.mean(evidence.baseline_tests))
    subject = f"the lead on the baseline on dev, {points(lead)} points,"
    telling = NORMAL_95 * deviation * math.sqrt(2 / seeds)
    if lead > telling:
        advice = f"{subject} is more than seeds alone give, {_size(telling)}"
        return Check("noise", title, PASS, figure, advice)
    advice = f"{subject} is within what seeds alone give, {_size(telling)}"
    if lead > 0 and (needed := math.ceil(2 * (NORMAL_95 * deviation / lead) ** 2)) <= MOST_TRAININGS:
        advice += f": give --test-seeds {needed}"
    return Check("noise", title, WARN, figure, advice)


def reliability_check(evidence: Evidence, fit: VarianceFit | None) -> Check:
    """Which share of the differences of the finalists' means is true, and what a share of .8 takes."""
    title = "reliability of the ranking"
    if reason := _no_ranking(evidence, fit):
        return _unknown("reliability", title, reason)
    assert fit is not None
    each, value = ranking_trainings(evidence), ranking_reliability(evidence, fit)
    figure = f"{value:.2f} with {counted(round(each, 1) if each % 1 else int(each), 'training')} each"
    if value >= RELIABLE:
        return Check("reliability", title, PASS, figure, "the order of the finalists is mostly their worth")
    further = further_trainings(evidence, fit)
    if further is None:
        advice = f"the finalists are alike: no affordable number of trainings makes it {RELIABLE:g}; take any"
    else:
        advice = f"{counted(further, 'further training')} of those that are left would make it {RELIABLE:g}"
    return Check("reliability", title, WARN, figure, advice)


def first_two_check(evidence: Evidence, fit: VarianceFit | None) -> Check:
    """Whether the winner can be told apart from the second."""
    title = "finalists 1 and 2"
    if reason := _no_ranking(evidence, fit):
        return _unknown("first_two", title, reason)
    assert fit is not None
    second = 1 + int(np.argmax(fit.means[1:]))
    difference = float(fit.means[0] - fit.means[second])
    covariance = fit.covariance
    variance = covariance[0, 0] + covariance[second, second] - 2 * covariance[0, second]
    error = math.sqrt(max(float(variance), 0.0) * fit.inflation)
    figure = f"{points(difference)} ± {_size(error)} points"
    if difference > NORMAL_95 * error:
        return Check("first_two", title, PASS, figure, "the winner is better than the second beyond noise")
    more = MOST_TRAININGS + 1
    if difference > 0:
        needed = 2 * fit.residual * (NORMAL_95 / difference) ** 2
        more = max(1, math.ceil(needed) - min(fit.counts[0], fit.counts[second]))
    other = f"trial {evidence.finalists[second].trial}"
    if more > MOST_TRAININGS:
        advice = f"no affordable number of seeds tells the winner and {other} apart: take the cheaper one"
    else:
        advice = f"{counted(more, 'seed')} more would tell the winner and {other} apart"
    return Check("first_two", title, WARN, figure, advice)


def left_to_win_check(evidence: Evidence, fit: VarianceFit | None, surrogate: SurrogateFit | None) -> Check:
    """What a better choice among the finalists, or a better configuration, could still win."""
    title = "what is left to win"
    if reason := _no_ranking(evidence, fit):
        return _unknown("left_to_win", title, reason)
    assert fit is not None
    left, noise = left_to_win(fit, surrogate), comparison_noise(fit)
    figure = f"{_size(left)} points; noise {_size(noise)}"
    if left < noise:
        advice = f"what is left to win, {_size(left)} points, is below the noise of {_size(noise)}: stop"
        return Check("left_to_win", title, PASS, figure, advice)
    among = fit.regret(0)
    where = "more seeds for the finalists (--finalist-seeds)"
    if surrogate is not None and surrogate.gain > among:
        where = "more trials"
    return Check("left_to_win", title, WARN, figure, f"go on: {where} can still win more than the noise")


def overtuning_check(evidence: Evidence, fit: VarianceFit | None, correlation: float | None) -> Check:
    """Whether validation still ranks the best configurations."""
    title = "overtuning"
    if fit is None or correlation is None:
        reason = f"there are fewer than {MIN_FINALISTS} finalists whose scores differ"
        return _unknown("overtuning", title, reason)
    best = max(range(len(evidence.finalists)), key=lambda i: evidence.finalists[i].search_score)
    behind = float(fit.means[0] - fit.means[best])
    figure = f"rank correlation of search scores and finals {correlation:.2f}"
    if correlation >= TELLING:
        return Check("overtuning", title, PASS, figure, "validation and the finals agree on the best")
    lost = f", of which the best is {_size(behind)} points behind the winner" if behind > 0 else ""
    advice = f"do not pick by search scores{lost}: more finalists help more than more trials"
    return Check("overtuning", title, WARN, figure, advice)


def surrogate_check(fit: SurrogateFit | None) -> Check:
    """Whether scores follow from hyperparameters."""
    title = "surrogate, leave-one-out"
    if fit is None:
        reason = f"there are fewer than {MIN_TRIALS} trials whose scores differ"
        return _unknown("surrogate", title, reason)
    better = f"{fit.better_half:.2f} in the better half"
    figure = f"rank correlation {fit.correlation:.2f} over {fit.trials} trials, {better}"
    if fit.correlation >= PREDICTIVE:
        return Check(
            "surrogate", title, PASS, figure, "scores follow from hyperparameters: the search learns"
        )
    advice = "scores hardly follow from hyperparameters: widen the space, or expect what random search gives"
    return Check("surrogate", title, WARN, figure, advice)


def prior_check(shift: PriorShift | None, effect: float | None, folds: bool) -> Check:
    """Whether dev has the class frequencies of train."""
    title = "class frequencies, dev and train"
    if shift is None:
        return _unknown("prior_shift", title, "a split has no labels")
    figure = f"{100 * shift.distance:.1f} % differ, {100 * shift.chance:.1f} % by chance"
    if not shift.beyond_chance:
        return Check("prior_shift", title, PASS, figure, "dev is like train")
    advice = f"dev is no random part of such dialogues, most of all in {shift.largest}"
    if effect is not None and folds:
        advice += f": test scores would be {points(effect)} points with frequencies as dev has them"
    elif effect is not None:
        advice += f": with frequencies of train the score on dev is {points(effect)} points"
    return Check("prior_shift", title, WARN, figure, advice)


def ranking_trainings(evidence: Evidence) -> float:
    """Trainings of a finalist that was not dropped: their harmonic mean."""
    counts = [len(finalist.scores) for finalist in evidence.finalists if finalist.contender]
    return len(counts) / sum(1 / count for count in counts) if counts else 0.0


def ranking_reliability(evidence: Evidence, fit: VarianceFit) -> float:
    """Share of the variance of the finalists' means that lies between them."""
    return fit.reliability(ranking_trainings(evidence))


def further_trainings(evidence: Evidence, fit: VarianceFit) -> int | None:
    """How many trainings more a reliability of .8 takes (Spearman-Brown); None: too many for anybody."""
    each, value = ranking_trainings(evidence), ranking_reliability(evidence, fit)
    if value <= 0:
        return None
    needed = math.ceil(each * RELIABLE / (1 - RELIABLE) * (1 - value) / value)
    if needed > MOST_TRAININGS:
        return None
    contenders = [finalist for finalist in evidence.finalists if finalist.contender]
    return sum(max(0, needed - len(finalist.scores)) for finalist in contenders)


def left_to_win(fit: VarianceFit, surrogate: SurrogateFit | None) -> float:
    """What the truly best finalist, or the best configuration by the surrogate, has more than the winner."""
    return max(fit.regret(0), 0.0 if surrogate is None else surrogate.gain)


def comparison_noise(fit: VarianceFit) -> float:
    """Standard error of the difference of two configurations with as many trainings as the winner."""
    return math.sqrt(2 * fit.residual / fit.counts[0])


def _no_ranking(evidence: Evidence, fit: VarianceFit | None) -> str:
    """Why nothing is known of the order of the finalists; empty: something is."""
    if not evidence.finalists:
        return "there were no finalists; give --finalists 2 or more"
    if len(evidence.finalists) < 2:
        return "there is one finalist only; give --finalists 2 or more"
    if fit is None or max(len(finalist.scores) for finalist in evidence.finalists) < 2:
        return "every finalist was trained once only; give --finalist-seeds 2 or more"
    return ""


def _unknown(name: str, title: str, reason: str) -> Check:
    return Check(name, title, UNKNOWN, "", reason)


def _size(value: float) -> str:
    """A fraction in percentage points."""
    return f"{100 * value:.2f}"
