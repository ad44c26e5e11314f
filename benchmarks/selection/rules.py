"""Rules that choose configurations, epochs, teachers and averages, judged on pseudo-tests.

For the pseudo-test that a quarter of train is, the other three are train and its folds. A rule sees dev and
these folds. It is judged by the pseudo-test score of trainings on all three quarters, at their best epoch on
dev. No training that a rule looks at has seen the pseudo-test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.selection.quarters import QUARTERS, Part, parts
from benchmarks.selection.tables import Floats, Measured, f1_of, rows_of_quarter

#: Configurations that a simulated study chooses from, simulated studies, and their seed.
STUDY_SIZE, STUDIES, SEED = 12, 2000, 17
#: Epochs of the moving mean of a smoothed curve.
SMOOTHING = 3
#: Configurations whose out-of-fold predictions teach, as in the finals.
TEACHERS = 8

#: Rule -> score of every configuration on every pseudo-test. [quarters, configs]
Judged = Mapping[str, Floats]


@dataclass(frozen=True)
class PseudoTest:
    """A quarter of train as the test; the other three are train."""

    quarter: int

    @property
    def train(self) -> Part:
        """The quarters that a training learns from whose worth is to be known."""
        return Part(tuple(quarter for quarter in range(QUARTERS) if quarter != self.quarter))

    def without(self, fold: int) -> Part:
        """Train without a fold."""
        return Part(tuple(quarter for quarter in self.train.learned if quarter != fold))


PSEUDO_TESTS = tuple(PseudoTest(quarter) for quarter in range(QUARTERS))
NEEDED = [*parts(3), *parts(2)]


def smoothed(curve: Floats) -> Floats:
    """The moving mean over SMOOTHING epochs, shorter at the ends."""
    kernel = np.ones(SMOOTHING)
    return np.asarray(
        np.convolve(curve, kernel, "same") / np.convolve(np.ones_like(curve), kernel, "same"),
        dtype=np.float64,
    )


def at_best(scores: pd.DataFrame, column: str, chosen_by: str = "dev") -> float:
    """The score of a column at the best epoch of another."""
    return float(scores[column].to_numpy()[int(scores[chosen_by].to_numpy().argmax())])


def truth(measured: Measured, number: int, test: PseudoTest) -> float:
    """The worth of a configuration on a pseudo-test."""
    scores = measured.scores(number, test.train)
    assert scores is not None
    return at_best(scores, f"held{test.quarter}")


def _of_trial(choose: Callable[[pd.DataFrame], float]) -> Callable[[Measured, int, PseudoTest], float]:
    """A rule that sees one training on all of train."""

    def rule(measured: Measured, number: int, test: PseudoTest) -> float:
        scores = measured.scores(number, test.train)
        assert scores is not None
        return choose(scores)

    return rule


def _over_folds(
    choose: Callable[[pd.DataFrame, int], float], folds: int
) -> Callable[[Measured, int, PseudoTest], float]:
    """A rule that sees trainings without a fold: the mean over the first `folds` of them."""

    def rule(measured: Measured, number: int, test: PseudoTest) -> float:
        found = []
        for fold in test.train.learned[:folds]:
            scores = measured.scores(number, test.without(fold))
            assert scores is not None
            found.append(choose(scores, fold))
        return float(np.mean(found))

    return rule


#: What a trial of a search can be scored on: one training.
TRIAL_RULES = {
    "dev, best epoch": _of_trial(lambda scores: float(scores["dev"].max())),
    "dev, best mean of 3 epochs": _of_trial(lambda scores: float(smoothed(scores["dev"].to_numpy()).max())),
    "dev with the class frequencies of train, best epoch": _of_trial(
        lambda scores: float(scores["corrected"].max())
    ),
    "dev with the class frequencies of train, best mean of 3 epochs": _of_trial(
        lambda scores: float(smoothed(scores["corrected"].to_numpy()).max())
    ),
    "dev and a fold that is left out, best epoch": _over_folds(
        lambda scores, fold: float(scores[f"both{fold}"].max()), 1
    ),
    "dev and a fold that is left out, best mean of 3 epochs": _over_folds(
        lambda scores, fold: float(smoothed(scores[f"both{fold}"].to_numpy()).max()), 1
    ),
}
#: What a finalist can be scored on: three trainings, each without a fold.
FINAL_RULES = {
    "dev": _over_folds(lambda scores, fold: float(scores["dev"].max()), 3),
    "dev with the class frequencies of train": _over_folds(
        lambda scores, fold: float(scores["corrected"].max()), 3
    ),
    "folds, epoch chosen on dev": _over_folds(lambda scores, fold: at_best(scores, f"held{fold}"), 3),
    "folds, epoch chosen on dev's mean of 3": _over_folds(
        lambda scores, fold: at_best(
            scores.assign(smooth=smoothed(scores["dev"].to_numpy())), f"held{fold}", "smooth"
        ),
        3,
    ),
    "folds and dev": _over_folds(lambda scores, fold: at_best(scores, f"both{fold}"), 3),
}


def judge(
    measured: Measured, rules: Mapping[str, Callable[[Measured, int, PseudoTest], float]], numbers: list[int]
) -> tuple[Judged, Floats]:
    """What the rules say of the configurations, and what they are worth. [quarters, configs] each"""
    said = {
        name: np.array([[rule(measured, number, test) for number in numbers] for test in PSEUDO_TESTS])
        for name, rule in rules.items()
    }
    worth = np.array([[truth(measured, number, test) for number in numbers] for test in PSEUDO_TESTS])
    return said, worth


@dataclass(frozen=True)
class RuleResult:
    """How well a rule chooses, with 95 % intervals over pseudo-tests and configurations."""

    rank_correlation: tuple[float, float, float]  #: with the worth: mean, low, high
    gain: tuple[float, float, float]  #: of what it chooses, above the mean configuration, in points
    best: float  #: gain of the best possible choice, in points


def results(said: Judged, worth: Floats, level: float = 0.95) -> dict[str, RuleResult]:
    """The rules' results, on the same bootstrap samples of pseudo-tests and configurations for all rules."""
    rng = np.random.default_rng(SEED)
    tests, configs = worth.shape
    samples = [
        (rng.integers(tests, size=tests), rng.integers(configs, size=configs)) for _ in range(STUDIES // 4)
    ]
    studies = [rng.permutation(configs)[:STUDY_SIZE] for _ in range(STUDIES)]
    found = {}
    for name, values in said.items():
        correlations = [_rank_correlation(values[rows][:, columns], worth[rows][:, columns])
                        for rows, columns in samples]  # fmt: skip
        gains = np.array([[_gain(values[test, study], worth[test, study]) for study in studies]
                          for test in range(tests)])  # fmt: skip
        spread = [_gain_of_sample(gains, rng) for _ in samples]
        found[name] = RuleResult(
            (_rank_correlation(values, worth), *_interval(correlations, level)),
            (100 * float(gains.mean()), *(100 * end for end in _interval(spread, level))),
            100 * float(np.mean([_gain(worth[test, study], worth[test, study])
                                 for test in range(tests) for study in studies])),
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class WorthVariance:
    """How far configurations differ, by an analysis of variance; in points of weighted F1."""

    between: float  #: standard deviation of the configurations' worth over all pseudo-tests
    within: float  #: that of one training on one pseudo-test around its configuration's worth
    ceiling: tuple[float, float, float]  #: of any rule's correlation with one training: estimate, low, high
    attainable: float  #: expected gain of the truly best of STUDY_SIZE configurations above the mean one


def worth_variance(worth: Floats, level: float = 0.95) -> WorthVariance:
    """Two-way analysis of variance without replicates; the interval is of a bootstrap over configurations."""
    rng, configs = np.random.default_rng(SEED), worth.shape[1]
    between, within = _components(worth)
    ceilings = []
    for _ in range(STUDIES // 4):
        one, rest = _components(worth[:, rng.integers(configs, size=configs)])
        ceilings.append(math.sqrt(one / (one + rest)) if one else 0.0)
    best = float(rng.standard_normal((STUDIES * 10, STUDY_SIZE)).max(axis=1).mean())
    return WorthVariance(
        100 * math.sqrt(between),
        100 * math.sqrt(within),
        (math.sqrt(between / (between + within)), *_interval(ceilings, level)),
        100 * best * math.sqrt(between),
    )


def _components(worth: Floats) -> tuple[float, float]:
    """Variance between configurations (0 if the estimate is negative), and of one training around it."""
    tests, configs = worth.shape
    rest = worth - worth.mean(axis=0) - worth.mean(axis=1, keepdims=True) + worth.mean()
    within = float((rest**2).sum() / ((tests - 1) * (configs - 1)))
    return max(0.0, float(worth.mean(axis=0).var(ddof=1)) - within / tests), within


def _rank_correlation(values: Floats, worth: Floats) -> float:
    """Spearman's, the mean over pseudo-tests; without those in which all are equal."""
    ranks = [stats.rankdata(side, axis=1) for side in (values, worth)]
    said, true = (side - side.mean(axis=1, keepdims=True) for side in ranks)
    scale = np.sqrt((said**2).sum(axis=1) * (true**2).sum(axis=1))
    if not (scale > 0).any():
        return math.nan
    return float(((said * true).sum(axis=1)[scale > 0] / scale[scale > 0]).mean())


def _gain(values: Floats, worth: Floats) -> float:
    return float(worth[values.argmax()] - worth.mean())


def _gain_of_sample(gains: Floats, rng: np.random.Generator) -> float:
    tests, studies = gains.shape
    chosen = gains[rng.integers(tests, size=tests)]
    return float(chosen[:, rng.integers(studies, size=STUDY_SIZE * 4)].mean())


def _interval(values: list[float], level: float) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def ranked(measured: Measured, test: PseudoTest, numbers: list[int]) -> list[int]:
    """The configurations, best on the folds first: what the finals know before they test."""
    rule = FINAL_RULES["folds, epoch chosen on dev"]
    return sorted(numbers, key=lambda number: -rule(measured, number, test))


def predicted(measured: Measured, number: int, test: PseudoTest) -> list[Floats]:
    """What a configuration's trainings without each fold predict for the pseudo-test. [U, classes] each"""
    return [measured.probability(number, test.without(fold), test.quarter) for fold in test.train.learned]


def averages(measured: Measured, numbers: list[int], counts: tuple[int, ...] = (1, 2, 4, 8)) -> pd.DataFrame:
    """Weighted F1 on every pseudo-test, of averages over the three trainings of the best configurations.

    Beside them: `single`, the mean of the members' scores, and `configuration`, the worth of the best one.
    """
    rows = []
    for test in PSEUDO_TESTS:
        order, tested = ranked(measured, test, numbers), rows_of_quarter(test.quarter)
        members = {number: predicted(measured, number, test) for number in order[: max(counts)]}
        for count in counts:
            chosen = [one for number in order[:count] for one in members[number]]
            rows.append({
                "quarter": test.quarter, "configurations": count,
                "single": float(np.mean([f1_of(one, tested) for one in chosen])),
                "average": f1_of(np.mean(chosen, axis=0), tested),
                "configuration": truth(measured, order[0], test),
            })  # fmt: skip
    return pd.DataFrame(rows)


def epochs(measured: Measured, numbers: list[int]) -> pd.DataFrame:
    """Pseudo-test scores by the way of choosing the epoch; means over the configurations, by quarter."""
    rows = []
    for test in PSEUDO_TESTS:
        for number in numbers:
            scores = measured.scores(number, test.train)
            assert scores is not None
            held = scores[f"held{test.quarter}"].to_numpy()
            folds = np.mean([
                measured.scores(number, test.without(fold))[f"held{fold}"].to_numpy()  # type: ignore[index]
                for fold in test.train.learned
            ], axis=0)  # fmt: skip
            dev = scores["dev"].to_numpy()
            choices = {
                "best on dev": dev,
                "best mean of 3 on dev": smoothed(dev),
                "best on dev with the class frequencies of train": scores["corrected"].to_numpy(),
                "best mean over the folds": folds,
                "best mean of 3 over the folds": smoothed(folds),
                "best mean of dev and the folds": (dev + folds) / 2,
                "last": np.arange(len(dev)),
                "best on the pseudo-test (not a rule)": held,
            }
            rows.append(
                {"quarter": test.quarter, "number": number}
                | {name: float(held[int(choice.argmax())]) for name, choice in choices.items()}
            )
    return pd.DataFrame(rows)
