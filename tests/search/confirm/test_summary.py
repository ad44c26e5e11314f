"""Statistics of recorded predictions are those of scipy and scikit-learn, and honest with little data."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from rigsl.config import RIGSLConfig
from rigsl.model.rigsl import RIGSL
from rigsl.training.evaluation import evaluate
from rigsl.training.scores import weighted_f1
from search.confirm.bootstrap import f1_difference, f1_interval, resampled_f1
from search.confirm.predictions import SeedRuns, confusion, dialogue_confusions, scores_of, seed_runs
from search.confirm.summary import compare, describe, summary
from search.confirm.wilcoxon import dialogue_wilcoxon, seed_wilcoxon, wilcoxon
from tests.helpers.toy_study import CLASSES, make_corpus

K = len(CLASSES)


def make_runs(
    seed: int = 0, *, trainings: int = 5, dialogues: int = 40, skill: float = 0.6, missing: int | None = None
) -> SeedRuns:
    """Predictions that are right with probability `skill`; labels of seed 0 whatever the seed."""
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed + 1)
    lengths = truth.integers(1, 12, size=dialogues)
    labels = truth.choice(K, size=lengths.sum(), p=[0.47, 0.12, 0.03, 0.07, 0.17, 0.03, 0.11])
    if missing is not None:
        labels[labels == missing] = 0
    right = rng.random((trainings, len(labels))) < skill
    predicted = np.where(right, labels, rng.integers(K, size=right.shape))
    offsets = np.append(0, np.cumsum(lengths))
    return SeedRuns(predicted, labels, offsets, CLASSES, tuple(range(trainings)))


def weighted(labels, predicted) -> float:
    return f1_score(labels, predicted, average="weighted", zero_division=0)


def drawn_rows(runs: SeedRuns, dialogues) -> np.ndarray:
    """The utterances of drawn dialogues, one after another."""
    return np.concatenate([np.arange(runs.offsets[i], runs.offsets[i + 1]) for i in dialogues])


@pytest.mark.parametrize("missing", [None, 2])
def test_scores_are_those_of_scikit_learn(missing):
    runs = make_runs(missing=missing)
    for scores, predicted in zip(scores_of(runs), runs.predicted, strict=True):
        assert scores.weighted_f1 == weighted(runs.labels, predicted)
        assert scores.macro_f1 == f1_score(runs.labels, predicted, average="macro", zero_division=0)
        assert scores.accuracy == accuracy_score(runs.labels, predicted)
        class_f1 = f1_score(runs.labels, predicted, average=None, labels=range(K), zero_division=0)
        assert list(scores.f1.values()) == class_f1.tolist()
    expected = sum(confusion_matrix(runs.labels, predicted, labels=range(K)) for predicted in runs.predicted)
    np.testing.assert_array_equal(confusion(runs), expected)


def test_a_class_that_is_nowhere_has_no_f1():
    labels = np.array([0, 1, 1, 0])
    runs = SeedRuns(np.array([[0, 1, 0, 0]]), labels, np.array([0, 2, 4]), ("a", "b", "never"), (3,))
    assert scores_of(runs)[0].f1 == {"a": pytest.approx(0.8), "b": pytest.approx(2 / 3), "never": None}
    assert scores_of(runs)[0].macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert describe(runs).f1["never"] is None
    assert describe(runs).support == {"a": 2, "b": 2, "never": 0}


def test_a_summary_is_that_of_scipy():
    values = [0.61, 0.58, 0.64, 0.6, 0.62]
    result = summary(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert result.values == tuple(values)
    assert (result.mean, result.std) == (
        pytest.approx(np.mean(values)),
        pytest.approx(np.std(values, ddof=1)),
    )
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))
    assert result.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(5))
    assert result.low == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval().low)


def test_one_number_has_no_spread_and_equal_numbers_have_none():
    alone = summary([0.6])
    assert (alone.mean, alone.std, alone.standard_error, alone.low, alone.high) == (
        0.6,
        None,
        None,
        None,
        None,
    )
    equal = summary([0.5, 0.5, 0.5])
    assert (equal.std, equal.low, equal.high) == (0.0, 0.5, 0.5)


@pytest.mark.parametrize("missing", [None, 6])
def test_a_resample_scores_as_scikit_learn_scores_its_utterances(missing):
    runs = make_runs(dialogues=12, missing=missing)
    draws = np.random.default_rng(3).integers(12, size=(40, 12))
    expected = [
        [weighted(runs.labels[rows], predicted[rows]) for predicted in runs.predicted]
        for rows in (drawn_rows(runs, draw) for draw in draws)
    ]
    result = resampled_f1(dialogue_confusions(runs), draws)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-15)
    whole = [weighted(runs.labels, predicted) for predicted in runs.predicted]
    np.testing.assert_allclose(weighted_f1(dialogue_confusions(runs).sum(axis=1)), whole, rtol=0, atol=1e-15)


def test_the_interval_of_one_run_is_scipys_over_dialogues():
    runs = make_runs().one(2)

    def score(dialogues):
        rows = drawn_rows(runs, dialogues)
        return weighted(runs.labels[rows], runs.predicted[0, rows])

    expected = stats.bootstrap(
        (np.arange(40),),
        score,
        vectorized=False,
        n_resamples=100,
        batch=2000,
        method="percentile",
        rng=np.random.default_rng(7),
    )
    result = f1_interval(runs, seed=7, resamples=100)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval), abs=1e-12)
    assert result.standard_error == pytest.approx(expected.standard_error)
    assert result.value == pytest.approx(weighted(runs.labels, runs.predicted[0]))
    assert (result.resampled, result.resamples, result.level) == (("dialogues",), 100, 0.95)


def test_several_runs_are_resampled_over_dialogues_and_seeds():
    runs, other = make_runs(trainings=3), make_runs(5, trainings=2, skill=0.5)

    def difference(dialogues, seeds, others):
        rows = drawn_rows(runs, dialogues)
        ours = [weighted(runs.labels[rows], runs.predicted[i, rows]) for i in seeds]
        theirs = [weighted(runs.labels[rows], other.predicted[i, rows]) for i in others]
        return np.mean(ours) - np.mean(theirs)

    expected = stats.bootstrap(
        (np.arange(40), np.arange(3), np.arange(2)),
        difference,
        vectorized=False,
        n_resamples=60,
        batch=2000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    result = f1_difference(runs, other, seed=1, resamples=60)
    interval = result.interval
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval), abs=1e-12)
    assert interval.resampled == ("dialogues", "seeds")
    values = expected.bootstrap_distribution
    assert result.p == pytest.approx(min(1.0, 2 * (min((values < 0).sum(), (values > 0).sum()) + 1) / 61))


def test_seeds_widen_the_interval_of_a_mean():
    steady, shaky = make_runs(trainings=5), make_runs(trainings=5)
    steady.predicted[:] = steady.predicted[0]
    rng = np.random.default_rng(0)
    for row, skill in zip(shaky.predicted, (0.3, 0.5, 0.6, 0.7, 0.9), strict=True):
        row[:] = np.where(rng.random(row.size) < skill, shaky.labels, rng.integers(K, size=row.size))
    one, same, spread = f1_interval(steady.one(0)), f1_interval(steady), f1_interval(shaky)
    assert (same.low, same.high) == pytest.approx((one.low, one.high), abs=0.01)
    assert spread.high - spread.low > 1.5 * (same.high - same.low)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Dialogues differ in difficulty, so that utterances of one are alike: resampling those would not do."""
    rng, k, hits, naive = np.random.default_rng(0), 3, 0, 0

    def draw(dialogues):
        lengths = np.full(dialogues, 10)
        labels = rng.integers(k, size=lengths.sum())
        skill = np.repeat(rng.beta(1, 1, size=dialogues), lengths)
        predicted = np.where(rng.random(len(labels)) < skill, labels, (labels + 1) % k)
        return SeedRuns(predicted[None], labels, np.append(0, np.cumsum(lengths)), ("a", "b", "c"), (0,))

    truth = weighted_f1(dialogue_confusions(draw(50_000)).sum(axis=1))[0]
    for trial in range(200):
        runs = draw(40)
        interval = f1_interval(runs, seed=trial, resamples=250)
        hits += interval.low <= truth <= interval.high
        single = SeedRuns(runs.predicted, runs.labels, np.arange(401), runs.classes, runs.seeds)
        utterances = f1_interval(single, seed=trial, resamples=250)
        naive += utterances.low <= truth <= utterances.high
    assert 0.9 <= hits / 200 <= 0.99
    assert naive / 200 < 0.85


def test_a_better_winner_is_told_from_an_equal_one():
    baseline = make_runs(skill=0.5)
    clear = f1_difference(make_runs(9, skill=0.75), baseline)
    assert clear.interval.low > 0
    assert clear.p < 0.001
    equal = f1_difference(make_runs(9, skill=0.5), baseline)
    assert equal.interval.low < 0 < equal.interval.high
    assert equal.p > 0.05


def test_identical_predictions_differ_by_nothing():
    runs = make_runs()
    for some in (runs, runs.one(0)):
        tests = compare(some, some)
        assert tests.bootstrap.interval.value == 0
        assert tests.bootstrap.p == 1
        for test in (tests.wilcoxon_over_dialogues, tests.wilcoxon_over_seeds):
            assert (test.p, test.pairs) == (1, 0)
    assert f1_difference(runs.one(0), runs.one(0)).interval.high == 0


def test_the_signed_rank_test_is_scipys():
    winner, baseline = make_runs(9, skill=0.65), make_runs(skill=0.55, trainings=4)
    over_dialogues = []
    for begin, end in zip(winner.offsets, winner.offsets[1:], strict=False):
        share = [
            Fraction(int((runs.predicted[:, begin:end] == runs.labels[begin:end]).sum()), len(runs.seeds))
            for runs in (winner, baseline)
        ]
        over_dialogues.append(float((share[0] - share[1]) / int(end - begin)))
    result = dialogue_wilcoxon(winner, baseline)
    expected = stats.wilcoxon(over_dialogues)
    assert (result.p, result.statistic) == (expected.pvalue, expected.statistic)
    assert result.pairs == np.count_nonzero(over_dialogues)
    assert seed_wilcoxon(winner, baseline) is None
    four = SeedRuns(winner.predicted[:4], winner.labels, winner.offsets, CLASSES, baseline.seeds)
    differences = [
        weighted(winner.labels, ours) - weighted(winner.labels, theirs)
        for ours, theirs in zip(four.predicted, baseline.predicted, strict=True)
    ]
    assert seed_wilcoxon(four, baseline).p == stats.wilcoxon(differences).pvalue


@pytest.mark.parametrize("pairs", [1, 5, 6])
def test_few_pairs_cannot_be_significant(pairs):
    result = wilcoxon(np.linspace(0.1, 0.2, pairs))
    assert result.p == result.smallest_possible_p == 2.0 ** (1 - pairs)
    assert wilcoxon([0.0, 0.0]).p == 1


def test_one_dialogue_has_no_interval():
    runs = make_runs(dialogues=1)
    scores = describe(runs)
    assert scores.interval is None
    assert scores.weighted_f1.mean == pytest.approx(
        np.mean(weighted_f1(dialogue_confusions(runs).sum(axis=1)))
    )
    assert compare(runs, make_runs(4, dialogues=1)).bootstrap is None


def test_scores_are_json_and_repeatable():
    winner, baseline = make_runs(1), make_runs(2)
    scores = {"winner": asdict(describe(winner)), "difference": asdict(compare(winner, baseline))}
    text = json.dumps(scores, allow_nan=False)
    again = {"winner": asdict(describe(winner)), "difference": asdict(compare(winner, baseline))}
    assert text == json.dumps(again)
    stored = json.loads(text)["winner"]
    assert [run["seed"] for run in stored["runs"]] == list(winner.seeds)
    assert stored["interval"]["low"] < stored["weighted_f1"]["mean"] < stored["interval"]["high"]
    assert stored["weighted_f1"]["values"] == [run["weighted_f1"] for run in stored["runs"]]
    for number, run in enumerate(stored["runs"]):
        alone = f1_interval(winner.one(number))
        assert (run["interval"]["low"], run["interval"]["high"]) == (alone.low, alone.high)


def test_predictions_are_those_of_the_evaluations():
    corpus = make_corpus()
    config = RIGSLConfig(
        modals="ld", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4, use_gumbel=False
    )
    evaluations = {seed: evaluate(RIGSL(config, corpus.schema), corpus, "test") for seed in (11, 12)}
    runs = seed_runs(corpus, "test", evaluations)
    assert runs.seeds == (11, 12)
    assert len(runs.offsets) == len(corpus.dialogues("test")) + 1
    assert [run.weighted_f1 for run in scores_of(runs)] == [
        evaluation.scores.weighted_f1 for evaluation in evaluations.values()
    ]
    first = corpus.dialogues("test")[0]
    assert (runs.labels[: runs.offsets[1]] == corpus.labels[corpus.rows(np.array([first]))]).all()


def test_what_does_not_fit_together_is_refused():
    runs = make_runs()
    with pytest.raises(ValueError, match="do not fit together"):
        SeedRuns(runs.predicted, runs.labels, runs.offsets, CLASSES, (1, 2))
    with pytest.raises(ValueError, match="do not fit together"):
        SeedRuns(runs.predicted, runs.labels - 1, runs.offsets, CLASSES, runs.seeds)  # hidden labels
    with pytest.raises(ValueError, match="not tested on the same utterances"):
        compare(runs, make_runs(missing=2))
