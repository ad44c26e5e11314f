"""Summarise simulated studies: medians with intervals, ranks, significance tests, selection bias."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.efficiency.run_study import GRID, OURS, FloatArray, StudyResult
from benchmarks.holm import holm
from rigsl.wording import MINUS
from search.confirm.wilcoxon import wilcoxon

#: Method -> its studies, in the order of their seeds.
StudiesByMethod = Mapping[str, Sequence[StudyResult]]
#: The method whose result the others' times refer to.
RANDOM = "random"


class Interval(NamedTuple):
    """A statistic over n studies with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def interval(values: FloatArray, statistic: str = "median", draws: int = 5000) -> Interval:
    """The median or the mean with its percentile bootstrap interval."""
    compute = np.median if statistic == "median" else np.mean
    resampled = compute(np.random.default_rng(0).choice(values, (draws, len(values))), axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(compute(values)), float(low), float(high))


def incumbent_scores(studies: Sequence[StudyResult]) -> FloatArray:
    """The best score so far at each time of GRID. [studies, times]"""
    return np.stack([study.best for study in studies])


def column(studies: Sequence[StudyResult], name: str) -> FloatArray:
    """One field of each study. [studies]"""
    return np.array([getattr(study, name) for study in studies])


def time_to(curves: FloatArray, score: float) -> FloatArray:
    """The share of the budget after which each study reaches `score`, 1 if it does not. [studies]"""
    reached = curves >= score
    return np.where(reached.any(axis=1), GRID[reached.argmax(axis=1)], 1.0)


class MethodComparison(NamedTuple):
    """All methods with the same number of workers."""

    rows: pd.DataFrame  #: indexed by method
    friedman: float  #: p-value of Friedman's test: all methods have equal ranks at the full budget


def compare_methods(studies: StudiesByMethod) -> MethodComparison:
    """One row per method. Differences are paired by study seed; a method may have fewer studies than ours."""
    curves = {name: incumbent_scores(results) for name, results in studies.items()}
    last_scores = {name: curve[:, -1] for name, curve in curves.items()}
    common = np.stack([scores[: min(map(len, last_scores.values()))] for scores in last_scores.values()])
    ranks = stats.rankdata(-common, axis=0).mean(axis=1)
    target = float(np.median(last_scores[RANDOM])) if RANDOM in last_scores else math.inf
    differences = {name: scores - last_scores[OURS][: len(scores)] for name, scores in last_scores.items()}
    others = [name for name in studies if name != OURS]
    adjusted = dict(zip(others, holm([wilcoxon(differences[name]).p for name in others]), strict=True))
    rows = []
    for (name, curve), rank in zip(curves.items(), ranks, strict=True):
        results = studies[name]
        rows.append(
            {
                "method": name,
                "half": interval(curve[:, np.searchsorted(GRID, 0.5)]),
                "full": interval(last_scores[name]),
                "expected": interval(column(results, "expected")),
                "time": interval(time_to(curve, target)),
                "rank": float(rank),
                "difference": interval(differences[name], "mean"),
                "p": adjusted.get(name, np.nan),
                "trials": float(column(results, "trials").mean()),
                "epochs": float(column(results, "epochs").mean()),
                "selection_bias": interval(
                    column(results, "search_score") - column(results, "again"), "mean"
                ),
                "confirmed": interval(column(results, "confirmed")),
                "trainings": float(column(results, "trainings").mean()),
                "test": interval(column(results, "test"), "mean"),
                "finals_effect": interval(column(results, "test") - column(results, "test_without"), "mean"),
            }
        )
    friedman = float(stats.friedmanchisquare(*common).pvalue) if len(common) > 2 else math.nan
    return MethodComparison(pd.DataFrame(rows).set_index("method", drop=False), friedman)


def interval_text(statistic: Interval, *, signed: bool = False) -> str:
    """In percent, or percentage points: ``61.20 (60.90 to 61.55)``."""
    value, low, high = (f"{100 * part:+.2f}" if signed else f"{100 * part:.2f}" for part in statistic)
    return f"{value} ({low} to {high})".replace("-", MINUS)


BASELINE_HEAD = (
    "method", "best F1 at half the budget", "best F1 at the full budget", "time to random search's result",
    "mean rank", "p", "trials", "selection bias", "test F1 of the winner", "effect of the finalist stage",
)  # fmt: skip


def baseline_cells(comparison: MethodComparison) -> list[list[str]]:
    """The rows under BASELINE_HEAD."""
    return [
        [
            row["method"],
            interval_text(row["half"]),
            interval_text(row["full"]),
            f"{row['time'].value:.2f} ({row['time'].low:.2f} to {row['time'].high:.2f})",
            f"{row['rank']:.1f}",
            "" if np.isnan(row["p"]) else "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}",
            f"{row['trials']:.0f}",
            interval_text(row["selection_bias"], signed=True),
            interval_text(row["test"]),
            interval_text(row["finals_effect"], signed=True),
        ]
        for row in comparison.rows.to_dict("records")
    ]


#: Name of the ablation without racing, which needs no study of its own.
WITHOUT_RACING = "every finalist with every seed"


def without_racing(studies: Sequence[StudyResult]) -> list[StudyResult]:
    """The same studies with the results of finals that drop no finalist."""
    return [
        dataclasses.replace(
            study,
            method=WITHOUT_RACING,
            confirmed=study.unraced.confirmed,
            test=study.unraced.test,
            trainings=study.unraced.trainings,
        )
        for study in studies
    ]


ABLATION_HEAD = (
    "ours, but", "best F1 at the full budget", "difference to ours, paired", "confirmed F1", "test F1",
    "trials", "trainings of finalists",
)  # fmt: skip


def ablation_cells(comparison: MethodComparison) -> list[list[str]]:
    """The rows under ABLATION_HEAD."""
    return [
        [
            row["method"],
            interval_text(row["full"]),
            "" if row["method"] == OURS else interval_text(row["difference"], signed=True),
            interval_text(row["confirmed"]),
            interval_text(row["test"]),
            f"{row['trials']:.0f}",
            f"{row['trainings']:.1f}",
        ]
        for row in comparison.rows.to_dict("records")
    ]
