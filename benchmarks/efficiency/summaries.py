"""What the results of simulated studies say: medians, ranks, tests, and what the finalist stage is worth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.efficiency.run_study import GRID, OURS, Floats, Result
from rigsl.wording import MINUS
from search.confirm.wilcoxon import wilcoxon

#: Method -> its studies, in the order of their seeds.
Found = Mapping[str, Sequence[Result]]
CHANCE = "random"


class Interval(NamedTuple):
    """A statistic of n studies with its 95 % bootstrap interval over studies."""

    value: float
    low: float
    high: float


def interval(values: Floats, statistic: str = "median", draws: int = 5000) -> Interval:
    """Of the median or the mean."""
    of = np.median if statistic == "median" else np.mean
    drawn = of(np.random.default_rng(0).choice(values, (draws, len(values))), axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(of(values)), float(low), float(high))


def best(results: Sequence[Result]) -> Floats:
    """The best score seen so far at each time of GRID. [studies, times]"""
    return np.stack([one.best for one in results])


def values(results: Sequence[Result], name: str) -> Floats:
    """One number of each study."""
    return np.array([getattr(one, name) for one in results])


def time_to(curves: Floats, score: float) -> Floats:
    """The share of the budget after which each study has reached `score`, 1 where it has not. [studies]"""
    reached = curves >= score
    return np.where(reached.any(axis=1), GRID[reached.argmax(axis=1)], 1.0)


class Comparison(NamedTuple):
    """All methods at one number of workers."""

    rows: pd.DataFrame
    friedman: float  #: p of equal ranks of all methods at full time


def compare(found: Found) -> Comparison:
    """One row a method, paired by study seeds, which are the same; some methods have fewer studies."""
    curves = {name: best(results) for name, results in found.items()}
    finals = {name: curve[:, -1] for name, curve in curves.items()}
    common = np.stack([one[: min(map(len, finals.values()))] for one in finals.values()])
    ranks = stats.rankdata(-common, axis=0).mean(axis=1)
    target = float(np.median(finals[CHANCE])) if CHANCE in finals else math.inf
    differences = {name: one - finals[OURS][: len(one)] for name, one in finals.items()}
    others = [name for name in found if name != OURS]
    holm = dict(zip(others, _holm([wilcoxon(differences[name]).p for name in others]), strict=True))
    rows = [
        {
            "method": name,
            "half": interval(curve[:, np.searchsorted(GRID, 0.5)]),
            "full": interval(finals[name]),
            "expected": interval(values(found[name], "expected")),
            "time": interval(time_to(curve, target)),
            "rank": float(rank),
            "difference": interval(differences[name], "mean"),
            "p": holm.get(name, np.nan),
            "trials": float(values(found[name], "trials").mean()),
            "epochs": float(values(found[name], "epochs").mean()),
            "optimism": interval(values(found[name], "search_score") - values(found[name], "again"), "mean"),
            "confirmed": interval(values(found[name], "confirmed")),
            "trainings": float(values(found[name], "trainings").mean()),
            "test": interval(values(found[name], "test"), "mean"),
            "finalists": interval(values(found[name], "test") - values(found[name], "test_without"), "mean"),
        }
        for (name, curve), rank in zip(curves.items(), ranks, strict=True)
    ]
    friedman = float(stats.friedmanchisquare(*common).pvalue) if len(common) > 2 else math.nan
    return Comparison(pd.DataFrame(rows).set_index("method", drop=False), friedman)


def _holm(given: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm, 1979)."""
    order, adjusted, highest = np.argsort(given), np.ones(len(given)), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(given) - place) * given[index]))
        adjusted[index] = highest
    return adjusted.tolist()


def points(one: Interval, *, signed: bool = False) -> str:
    """In percentage points: ``61.20 (60.90 to 61.55)``."""
    value, low, high = (f"{100 * part:+.2f}" if signed else f"{100 * part:.2f}" for part in one)
    return f"{value} ({low} to {high})".replace("-", MINUS)


HEAD = (
    "method", "best F1, half the time", "all the time", "time to random's result", "mean rank", "p",
    "trials", "optimism", "test F1 after the finalists", "finalists' worth on test",
)  # fmt: skip


def cells(comparison: Comparison) -> list[list[str]]:
    """The rows under HEAD."""
    return [
        [
            row["method"],
            points(row["half"]),
            points(row["full"]),
            f"{row['time'].value:.2f} ({row['time'].low:.2f} to {row['time'].high:.2f})",
            f"{row['rank']:.1f}",
            "" if np.isnan(row["p"]) else "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}",
            f"{row['trials']:.0f}",
            points(row["optimism"], signed=True),
            points(row["test"]),
            points(row["finalists"], signed=True),
        ]
        for row in comparison.rows.to_dict("records")
    ]


UNRACED = "every finalist with every seed"


def unraced(results: Sequence[Result]) -> list[Result]:
    """The same studies with finals in which nobody was given up."""
    return [dataclasses.replace(one, method=UNRACED, **one.unraced._asdict()) for one in results]


ABLATION_HEAD = (
    "ours, but", "best F1, all the time", "less ours, paired", "confirmed F1", "test F1", "trials",
    "trainings of finalists",
)  # fmt: skip


def ablation_cells(comparison: Comparison) -> list[list[str]]:
    """The rows under ABLATION_HEAD: what a change costs, paired by study."""
    return [
        [
            row["method"],
            points(row["full"]),
            "" if row["method"] == OURS else points(row["difference"], signed=True),
            points(row["confirmed"]),
            points(row["test"]),
            f"{row['trials']:.0f}",
            f"{row['trainings']:.1f}",
        ]
        for row in comparison.rows.to_dict("records")
    ]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a README."""
    lines = [" | ".join(("", *row, "")).strip() for row in (head, *rows)]
    return "\n".join([lines[0], "|---|" + "--:|" * (len(head) - 1), *lines[1:]])
