"""The expected test score: its interval holds the truth as often as it says, and luck is taken off."""

import dataclasses

import numpy as np
import pytest

from search.trust.evidence import DialogueNoise, Evidence, FinalistEvidence
from search.trust.expectation import against_tested, expected_score, fit_finals, in_words
from search.trust.trust_record import ExpectedScore
from tests.helpers.simulated_finals import World, simulate

STUDIES = 200
WORLDS = {
    "folds": World(trials=40),
    "dev": World(trials=40, folds=0),
    "three finalists": World(finalists=3),
    "equal configurations": World(between=0.0005, finalists=5),
    "one finalist on dev": World(finalists=1, folds=0),
}


def expected(evidence: Evidence) -> ExpectedScore:
    score, reason = expected_score(evidence, fit_finals(evidence))
    assert score is not None, reason
    return score


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_interval_holds_the_tested_mean_in_95_percent_of_simulated_studies(world: World) -> None:
    studies = [simulate(world, seed) for seed in range(STUDIES)]
    scores = [expected(evidence) for evidence, _ in studies]
    held = np.mean(
        [score.low <= tested <= score.high for score, (_, tested) in zip(scores, studies, strict=True)]
    )
    assert 0.90 <= held <= 0.995
    errors = np.array([score.mean - tested for score, (_, tested) in zip(scores, studies, strict=True)])
    naive = [np.mean([*evidence.finalists[0].scores.values()]) - tested for evidence, tested in studies]
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(STUDIES) + 0.001
    assert abs(errors.mean()) < abs(np.mean(naive)), "the winner's mean alone is off by more"


EVIDENCE = simulate(World(), 1)[0]
ON_DEV = simulate(World(folds=0), 1)[0]


def test_what_is_measured_on_dev_is_added_to_scores_on_folds() -> None:
    score = expected(EVIDENCE)
    gain = np.mean(EVIDENCE.tests) - np.mean(EVIDENCE.left_out)
    assert score.corrections == {"all of train": pytest.approx(gain)}
    assert score.standard_error == pytest.approx(np.sqrt(sum(error**2 for error in score.errors.values())))
    higher = expected(dataclasses.replace(EVIDENCE, tests=tuple(one + 0.01 for one in EVIDENCE.tests)))
    assert higher.mean - score.mean == pytest.approx(0.01)


def test_luck_and_class_frequencies_of_dev_are_taken_off_scores_on_dev() -> None:
    plain = expected(dataclasses.replace(ON_DEV, suits_dev=None))
    assert plain.corrections == {}
    known = dataclasses.replace(ON_DEV, suits_dev=None, epoch_bias=0.004, prior_effect=0.02)
    assert expected(known).mean == pytest.approx(plain.mean + 0.016)
    assert expected(ON_DEV).mean < plain.mean
    assert expected(ON_DEV).standard_error > plain.standard_error
    elsewhere = expected(dataclasses.replace(ON_DEV, searched_on_dev=False))
    assert expected(ON_DEV).mean < elsewhere.mean < plain.mean, "only the finals have chosen on dev"


def test_noisier_dialogues_and_fewer_seeds_make_the_interval_wider() -> None:
    noisy = dataclasses.replace(EVIDENCE, dialogues=DialogueNoise(0.02, 0.03))
    few = dataclasses.replace(EVIDENCE, tests=EVIDENCE.tests[:2])
    for other in (noisy, few):
        assert expected(other).standard_error > expected(EVIDENCE).standard_error


ONCE = (FinalistEvidence(3, 0.6, {0: 0.58}),)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (dataclasses.replace(EVIDENCE, tests=()), "give --test-seeds 2"),
        (dataclasses.replace(EVIDENCE, finalists=ONCE), "give --finalists 2"),
        (dataclasses.replace(EVIDENCE, finalists=()), "give --finalists 2"),
        (dataclasses.replace(ON_DEV, finalists=(), tests=ON_DEV.tests[:1]), "give --finalists 2"),
        (dataclasses.replace(EVIDENCE, left_out=()), "give --test-seeds 2"),
        (dataclasses.replace(EVIDENCE, dialogues=DialogueNoise(None, None)), "too few dialogues"),
    ],
)
def test_what_cannot_be_expected_is_said_in_a_sentence(evidence: Evidence, reason: str) -> None:
    score, sentence = expected_score(evidence, fit_finals(evidence))
    assert score is None
    assert reason in sentence


def test_without_finalists_the_trainings_for_the_test_say_what_is_expected() -> None:
    score = expected(dataclasses.replace(ON_DEV, finalists=()))
    assert score.mean == pytest.approx(np.mean(ON_DEV.tests))


def test_the_tested_score_is_said_beside_the_expected_one() -> None:
    score = ExpectedScore(0.6, 0.58, 0.62, 0.01)
    assert in_words(score) == "60.00 % (95 % interval 58.00 to 62.00 %)"
    assert against_tested(score, 0.61) == "tested 61.00 %, +1.00 points, inside the interval"
    assert against_tested(score, 0.57) == "tested 57.00 %, \u22123.00 points, outside the interval"
