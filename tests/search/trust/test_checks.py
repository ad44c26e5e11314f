"""Every check has a figure, a verdict and one sentence; what a study cannot know is said in a sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest

from search.trust import checks
from search.trust.evidence import DialogueNoise, Evidence, FinalistEvidence
from search.trust.expectation import fit_finals
from search.trust.priors import PriorShift
from search.trust.surrogate import SurrogateFit
from search.trust.trust_record import PASS, UNKNOWN, WARN, Check

NOISE = DialogueNoise(0.006, 0.011)


def evidence_of(scores: Mapping[int, list[float]], **changes) -> Evidence:
    """Finalists, the winner first, with their scores on folds."""
    finalists = tuple(
        FinalistEvidence(trial, 0.6 + trial / 1000, dict(enumerate(own))) for trial, own in scores.items()
    )
    known = {"winner": 1, "folds": True, "tests": (0.60, 0.61), "left_out": (0.59, 0.59), "dialogues": NOISE}
    return Evidence(finalists=finalists, **known | changes)


APART = evidence_of({1: [0.60, 0.61, 0.59], 2: [0.56, 0.571, 0.549], 3: [0.52, 0.529, 0.511]})
ALIKE = evidence_of({1: [0.60, 0.61, 0.59], 2: [0.59, 0.599, 0.608], 3: [0.598, 0.589, 0.609]})
ONE = evidence_of({1: [0.60, 0.61, 0.59]})
ONCE = evidence_of({1: [0.6], 2: [0.59], 3: [0.58]})
NONE = evidence_of({})


def verdict(check: Check, expected: str, *parts: str) -> None:
    assert check.verdict == expected, check
    for part in parts:
        assert part in f"{check.figure}; {check.advice}", check


def test_a_ranking_that_blocks_agree_on_is_reliable() -> None:
    verdict(checks.reliability_check(APART, fit_finals(APART)), PASS, "with 3 trainings each")
    verdict(checks.first_two_check(APART, fit_finals(APART)), PASS, "better than the second beyond noise")


def test_a_ranking_of_alike_finalists_says_what_would_make_it_reliable() -> None:
    fit = fit_finals(ALIKE)
    check = checks.reliability_check(ALIKE, fit)
    further = checks.further_trainings(ALIKE, fit)
    verdict(check, WARN, "take any" if further is None else f"{further} further trainings")
    verdict(checks.first_two_check(ALIKE, fit), WARN, "apart")


def test_further_trainings_are_those_of_spearman_and_brown() -> None:
    fit = fit_finals(ALIKE)
    value = checks.ranking_reliability(ALIKE, fit)
    needed = math.ceil(3 * 4 * (1 - value) / value)
    assert checks.further_trainings(ALIKE, fit) == (3 * (needed - 3) if needed <= 50 else None)
    dropped = dataclasses.replace(ALIKE.finalists[2], scores={0: 0.5, 1: 0.5}, contender=False)
    assert (
        checks.ranking_trainings(dataclasses.replace(ALIKE, finalists=(*ALIKE.finalists[:2], dropped))) == 3
    )


def test_when_less_than_the_noise_can_be_won_the_advice_is_to_stop() -> None:
    verdict(checks.left_to_win_check(APART, fit_finals(APART), None), PASS, "is below the noise of", ": stop")
    hope = SurrogateFit(40, 0.9, 0.8, gain=0.05)
    verdict(checks.left_to_win_check(APART, fit_finals(APART), hope), WARN, "5.00 points", "more trials")


@pytest.mark.parametrize(
    ("evidence", "reason"), [(ONE, "one finalist"), (ONCE, "once"), (NONE, "no finalists")]
)
def test_without_a_ranking_the_reason_is_said(evidence: Evidence, reason: str) -> None:
    fit = fit_finals(evidence)
    for check in (
        checks.reliability_check(evidence, fit),
        checks.first_two_check(evidence, fit),
        checks.left_to_win_check(evidence, fit, None),
    ):
        verdict(check, UNKNOWN, reason)
        assert check.figure == ""


def test_the_noise_floor_is_compared_with_the_lead_on_the_baseline() -> None:
    groups = ((0.60, 0.61), (0.59, 0.60))
    ahead = dataclasses.replace(APART, baseline_tests=(0.5, 0.51), repeated=groups)
    verdict(checks.noise_check(ahead, fit_finals(ahead)), PASS, "seed", "fold", "dialogues of test 1.10")
    behind = dataclasses.replace(ahead, baseline_tests=(0.598, 0.608))
    verdict(checks.noise_check(behind, fit_finals(behind)), WARN, "+0.20 points, is within")
    near = dataclasses.replace(ahead, baseline_tests=(0.594, 0.604))
    verdict(checks.noise_check(near, fit_finals(near)), WARN, "give --test-seeds 11")
    verdict(checks.noise_check(APART, fit_finals(APART)), PASS, "two configurations with 3 trainings each")
    verdict(checks.noise_check(NONE, None), UNKNOWN, "once only")
    single = dataclasses.replace(ahead, tests=(0.605,), baseline_tests=(0.6,), repeated=())
    verdict(checks.noise_check(single, fit_finals(single)), WARN, "+0.50 points, is within")


def test_validation_that_ranks_the_finalists_the_wrong_way_round_is_overtuned() -> None:
    fit = fit_finals(APART)
    verdict(checks.overtuning_check(APART, fit, 0.9), PASS, "0.90")
    behind = 100 * (fit.means[0] - fit.means[2])
    verdict(checks.overtuning_check(APART, fit, -1.0), WARN, f"best is {behind:.2f} points behind the winner")
    verdict(checks.overtuning_check(ONE, fit_finals(ONE), None), UNKNOWN, "fewer than 3 finalists")


def test_a_surrogate_that_predicts_nothing_is_a_warning() -> None:
    verdict(
        checks.surrogate_check(SurrogateFit(40, 0.8, 0.4, 0.0)),
        PASS,
        "0.80 over 40 trials, 0.40 in the better",
    )
    verdict(checks.surrogate_check(SurrogateFit(40, 0.1, 0.0, 0.0)), WARN, "random search")
    verdict(checks.surrogate_check(None), UNKNOWN, "fewer than 20 trials")


def test_other_class_frequencies_in_dev_are_a_warning() -> None:
    shift = PriorShift((0.5, 0.5), (0.4, 0.6), 0.1, 0.05, "joy")
    verdict(
        checks.prior_check(shift, -0.012, True), WARN, "10.0 % differ, 5.0 % by chance", "joy", "\u22121.20"
    )
    verdict(checks.prior_check(shift, 0.02, False), WARN, "with frequencies of train", "+2.00 points")
    verdict(checks.prior_check(dataclasses.replace(shift, chance=0.2), None, True), PASS)
    verdict(checks.prior_check(None, None, True), UNKNOWN)


def test_an_advice_is_one_sentence_without_its_full_stop() -> None:
    for evidence in (APART, ALIKE, ONE, ONCE, NONE):
        fit = fit_finals(evidence)
        for check in (
            checks.noise_check(evidence, fit),
            checks.reliability_check(evidence, fit),
            checks.first_two_check(evidence, fit),
            checks.left_to_win_check(evidence, fit, None),
        ):
            assert check.advice
            assert not check.advice.endswith(".")
            assert ". " not in check.advice
            assert not np.any([word in check.figure for word in ("nan", "inf")])
