"""Rules of selection: what they see, and what they are judged by."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from benchmarks.selection import handed_over, page, rules, tables, teaching
from benchmarks.selection.quarters import QUARTERS, Part, corpus, parts
from benchmarks.selection.rules import FINAL_RULES, NEEDED, PSEUDO_TESTS, TRIAL_RULES
from benchmarks.selection.tables import Measured, rows_of_quarter
from benchmarks.selection.trainings import Predictions

EPOCHS, CONFIGURATIONS = 4, 5
Keys = tuple[int, str]


def played(scores: dict[Keys, dict[str, list[float]]]) -> Measured:
    """Tables of trainings with these scores; their predictions are the same class for all utterances."""
    frames, kept, index = [], [], []
    for (number, name), columns in scores.items():
        part = Part(tuple(map(int, name)))
        frame = pd.DataFrame({"epoch": range(1, EPOCHS + 1)} | columns)
        frames.append(frame.assign(number=number, part=name, seed=0, weight=np.nan, temperature=np.nan))
        rows = sum(len(rows_of_quarter(quarter)) for quarter in part.held)
        log_prob = np.full((rows, 7), np.log(0.05), dtype=np.float16)
        log_prob[:, number % 7] = np.log(0.7)
        kept.append(log_prob)
        index.append((number, name, 0))
    return Measured(pd.concat(frames, ignore_index=True), np.concatenate(kept), index)


@pytest.fixture(scope="module")
def measured() -> Measured:
    """Random scores of a few configurations."""
    rng = np.random.default_rng(1)
    found = {}
    for number in range(CONFIGURATIONS):
        for part in NEEDED:
            columns = [
                "dev",
                "corrected",
                *(f"{kind}{one}" for kind in ("held", "both") for one in part.held),
            ]
            found[number, part.name] = {name: rng.uniform(0.5, 0.6, EPOCHS).tolist() for name in columns}
    return played(found)


def test_a_rule_never_sees_the_pseudo_test_and_the_truth_never_sees_a_fold(measured: Measured) -> None:
    for test in PSEUDO_TESTS:
        hidden = measured.curves.copy()
        hidden.loc[:, [f"held{test.quarter}", f"both{test.quarter}"]] = 0.0
        blind = Measured(hidden, measured.log_prob, measured.index)
        for rule in [*TRIAL_RULES.values(), *FINAL_RULES.values()]:
            for number in range(CONFIGURATIONS):
                assert rule(blind, number, test) == rule(measured, number, test)
        seen = measured.curves.copy()
        seen.loc[seen["part"].str.len() == 2, seen.columns.str.match("held|both|dev|corrected")] = 0.0
        for number in range(CONFIGURATIONS):
            truth = rules.truth(Measured(seen, measured.log_prob, measured.index), number, test)
            assert truth == rules.truth(measured, number, test)
            scores = measured.scores(number, test.train)
            assert truth == scores[f"held{test.quarter}"][scores["dev"].idxmax()]


def test_rules_are_what_they_say(measured: Measured) -> None:
    test = PSEUDO_TESTS[1]
    assert (test.train.name, test.without(2).name) == ("023", "03")
    one = measured.scores(3, Part((0, 2, 3)))
    assert TRIAL_RULES["dev, best epoch"](measured, 3, test) == one["dev"].max()
    pair = measured.scores(3, Part((2, 3)))
    assert (
        TRIAL_RULES["dev and a fold that is left out, best epoch"](measured, 3, test) == pair["both0"].max()
    )
    folds = [
        measured.scores(3, Part(tuple(sorted({0, 2, 3} - {fold})))).pipe(
            lambda scores, fold=fold: scores[f"held{fold}"][scores["dev"].idxmax()]
        )
        for fold in (0, 2, 3)
    ]
    assert FINAL_RULES["folds, epoch chosen on dev"](measured, 3, test) == pytest.approx(np.mean(folds))


def test_a_smoothed_curve_is_a_moving_mean() -> None:
    assert rules.smoothed(np.array([1.0, 2.0, 6.0, 0.0])) == pytest.approx([1.5, 3.0, 8 / 3, 3.0])


def test_the_results_are_rank_correlation_and_gain(measured: Measured) -> None:
    numbers = list(range(CONFIGURATIONS))
    said, worth = rules.judge(measured, TRIAL_RULES, numbers)
    found = rules.results(said | {"oracle": worth}, worth)
    assert found["oracle"].rank_correlation[0] == pytest.approx(1)
    assert found["oracle"].gain[0] == pytest.approx(found["oracle"].best)
    name = "dev, best epoch"
    expected = np.mean(
        [spearmanr(said[name][quarter], worth[quarter]).statistic for quarter in range(QUARTERS)]
    )
    assert found[name].rank_correlation[0] == pytest.approx(expected)
    chosen = [
        worth[quarter][said[name][quarter].argmax()] - worth[quarter].mean() for quarter in range(QUARTERS)
    ]
    assert found[name].gain[0] == pytest.approx(100 * np.mean(chosen))  # a study has all five configurations
    assert found[name].gain[1] <= found[name].gain[0] <= found[name].gain[2]


def test_averages_and_epochs_are_judged_on_the_pseudo_test(measured: Measured) -> None:
    numbers = list(range(CONFIGURATIONS))
    found = rules.averages(measured, numbers, (1, 2))
    for test in PSEUDO_TESTS:
        best = rules.ranked(measured, test, numbers)[0]
        labels = corpus().labels[rows_of_quarter(test.quarter)]
        share = (labels == best % 7).mean()
        expected = share * 2 * share / (1 + share)  # weighted F1 of one class for all
        row = found[(found["quarter"] == test.quarter) & (found["configurations"] == 1)].iloc[0]
        assert row["single"] == pytest.approx(row["average"])
        assert row["average"] == pytest.approx(expected)
        assert row["configuration"] == rules.truth(measured, best, test)
    chosen = rules.epochs(measured, numbers)
    assert (chosen["best on the pseudo-test (not a rule)"] >= chosen["best on dev"]).all()
    assert chosen.loc[0, "best on dev"] == rules.truth(measured, 0, PSEUDO_TESTS[0])


def test_what_is_handed_over_is_chosen_without_the_pseudo_test(measured: Measured) -> None:
    numbers = list(range(CONFIGURATIONS))
    found = handed_over.handed_over(measured, numbers, studies=2)
    assert len(found) == 2 * QUARTERS
    for row in found.to_dict("records"):  # a study has all five configurations
        test = PSEUDO_TESTS[row["quarter"]]
        on_dev = [measured.scores(number, test.train)["dev"].max() for number in numbers]
        assert row["best trial on dev"] == rules.truth(measured, int(np.argmax(on_dev)), test)
        ranked = rules.ranked(measured, test, numbers)
        assert row["configuration"] == rules.truth(measured, ranked[0], test)
        members = {number % 7 for number in ranked[:2]}
        shares = [(corpus().labels[rows_of_quarter(test.quarter)] == one).mean() for one in members]
        expected = {round(share * 2 * share / (1 + share), 9) for share in shares}
        assert round(row["average"], 9) in expected, (
            "the mean of two members predicts the class of one of them"
        )


def test_a_teacher_is_what_was_predicted_out_of_fold(measured: Measured) -> None:
    test = PSEUDO_TESTS[2]
    made = teaching.teacher(measured, test, [0, 1], 0.6, 1.0)
    taught = made.taught_rows(corpus())
    assert np.array_equal(taught, corpus().rows(np.flatnonzero(np.isin(quarters_of(), test.train.learned))))
    expected = np.full(7, 0.05)
    expected[:2] = (0.7 + 0.05) / 2
    assert np.exp(made.log_prob[taught[0]]) == pytest.approx(expected / expected.sum(), abs=1e-3)


def quarters_of() -> np.ndarray:
    return tables.quarter_of_dialogue()


def test_epoch_scores_are_weighted_f1() -> None:
    rng = np.random.default_rng(2)
    rows = np.sort(np.concatenate([rows_of_quarter(3), tables.rows_of("dev")]))
    log_prob = np.log(rng.dirichlet(np.ones(7), (2, len(rows)))).astype(np.float16)
    found = tables.epoch_scores(Predictions(log_prob, rows, 1.0), (3,))
    from sklearn.metrics import f1_score

    labels = corpus().labels
    for epoch in range(2):
        predicted = log_prob[epoch].argmax(axis=1)
        on_dev = np.isin(rows, tables.rows_of("dev"))
        for name, part in (("dev", on_dev), ("held3", ~on_dev), ("both3", on_dev | True)):
            expected = f1_score(labels[rows[part]], predicted[part], average="weighted")
            assert found[name][epoch] == pytest.approx(expected)
        train, dev = labels[tables.rows_of("train")], labels[tables.rows_of("dev")]
        weight = (np.bincount(train) / len(train)) / (np.bincount(dev) / len(dev))
        corrected = f1_score(
            labels[rows[on_dev]],
            predicted[on_dev],
            average="weighted",
            sample_weight=weight[labels[rows[on_dev]]],
        )
        assert found["corrected"][epoch] == pytest.approx(corrected)
    assert found["held0"].isna().all()


def test_the_page_has_all_tables(measured: Measured) -> None:
    text = page.page(measured)
    assert f"{CONFIGURATIONS} of them on all {len(parts(3))} + {len(parts(2))} parts of train" in text
    for name in [*TRIAL_RULES, *FINAL_RULES, "best mean over the folds", "Configurations in the average"]:
        assert f"{name} |" in text


def test_the_variances_of_simulated_worths_are_found() -> None:
    """Configurations with a standard deviation of .5 points, trainings with 1 point, quarters that differ."""
    rng = np.random.default_rng(0)
    worth = (
        rng.normal(0, 0.005, 400) + rng.normal(0, 0.01, (QUARTERS, 400)) + rng.normal(0, 0.02, (QUARTERS, 1))
    )
    found = rules.worth_variance(worth)
    assert found.between == pytest.approx(0.5, abs=0.07)
    assert found.within == pytest.approx(1.0, abs=0.05)
    mean, low, high = found.ceiling
    assert low < mean < high
    assert mean == pytest.approx(np.sqrt(0.25 / 1.25), abs=0.06)
    assert found.attainable == pytest.approx(0.5 * 1.629, abs=0.12), "the expected largest of 12 normal draws"


def test_equal_configurations_leave_nothing_to_choose() -> None:
    worth = np.array([[0.5, 0.6], [0.6, 0.5], [0.5, 0.6], [0.6, 0.5]])
    found = rules.worth_variance(worth)
    assert found.between == found.attainable == found.ceiling[0] == 0.0
