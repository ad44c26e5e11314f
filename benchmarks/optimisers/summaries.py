"""Ranks with intervals, significance, and seconds of the contest.

A study's rank is among the studies of all samplers on the same problem with the same seed. The unit of
intervals and tests is the problem: the ranks of its studies are averaged first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.holm import holm
from benchmarks.optimisers.problems import FAMILIES, problems
from benchmarks.optimisers.studies import POINTS, CellResult
from search.confirm.wilcoxon import wilcoxon

#: Of the budget, in percent.
SHARES = (25, 50, 100)
RESAMPLES = 5000
#: All families together.
ALL = "all"


@dataclass(frozen=True)
class MeanRank:
    """A mean over problems with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Duel:
    """Two samplers on the same problems."""

    problems: int
    wins: int  #: problems on which the mean rank of the first one is better
    losses: int
    p: float  #: of Wilcoxon's test of the differences of mean ranks, adjusted by Holm's method


def frame(results: Sequence[CellResult]) -> pd.DataFrame:
    """One row per study, with the family of its problem."""
    rows = pd.DataFrame([asdict(result) for result in results])
    rows["regrets"] = [np.asarray(values, dtype=np.float32) for values in rows["regrets"]]
    return rows.sort_values(["problem", "seed", "sampler"], ignore_index=True)


def with_family(studies: pd.DataFrame) -> pd.DataFrame:
    """The studies with columns for the family and the dimension of their problems."""
    known = problems()
    return studies.assign(
        family=[known[name].family for name in studies["problem"]],
        dimension=[known[name].dimension for name in studies["problem"]],
    )


def common(studies: pd.DataFrame, samplers: Sequence[str]) -> pd.DataFrame:
    """The studies of these samplers on what all of them have run."""
    chosen = studies[studies["sampler"].isin(samplers)]
    counts = chosen.groupby(["problem", "seed", "trials"])["sampler"].transform("nunique")
    return chosen[counts == len(set(samplers))]


def ranks(studies: pd.DataFrame, share: int) -> pd.DataFrame:
    """Mean ranks after this share of the budget. [problems x samplers]"""
    point = share * POINTS // 100 - 1
    rows = studies.assign(regret=[float(values[point]) for values in studies["regrets"]])
    rows["rank"] = rows.groupby(["problem", "seed", "trials"])["regret"].rank()
    return rows.pivot_table(index="problem", columns="sampler", values="rank", aggfunc="mean")


def mean_ranks(table: pd.DataFrame) -> Mapping[str, MeanRank]:
    """Sampler -> its mean rank; problems are resampled."""
    values = table.to_numpy()
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5], axis=0)
    means = values.mean(axis=0)
    return {
        str(name): MeanRank(*(float(number) for number in numbers))
        for name, *numbers in zip(table.columns, means, low, high, strict=True)
    }


def duels(studies: pd.DataFrame, first: str, second: str) -> Mapping[tuple[str, int], Duel]:
    """Family and share of the budget -> two samplers against each other; Holm's method is over all."""
    pair = common(studies, [first, second])
    found: dict[tuple[str, int], NDArray[np.float64]] = {}
    for family in [name for name in FAMILIES if (pair["family"] == name).any()]:
        for share in SHARES:
            table = ranks(pair[pair["family"] == family], share)
            found[family, share] = (table[second] - table[first]).to_numpy()
    adjusted = holm([wilcoxon(differences).p for differences in found.values()])
    return {
        key: Duel(len(values), int((values > 0).sum()), int((values < 0).sum()), p)
        for (key, values), p in zip(found.items(), adjusted, strict=True)
    }


@dataclass(frozen=True)
class Comparison:
    """A sampler against another one on the same problems, after one share of the budget."""

    ratio: float  #: of its regret to the other's: mean over the studies of a problem, median over problems
    duel: Duel


def comparisons(
    studies: pd.DataFrame, names: Sequence[str], second: str
) -> Mapping[tuple[str, str, int], Comparison]:
    """Sampler, family (or ALL) and share of the budget -> how it compares with `second`.

    Holm's method is over all of them.
    """
    found: dict[tuple[str, str, int], tuple[float, NDArray[np.float64]]] = {}
    for name in names:
        pair = common(studies, [name, second])
        families = [family for family in FAMILIES if (pair["family"] == family).any()]
        for family in [*families, ALL]:
            part = pair if family == ALL else pair[pair["family"] == family]
            for share in SHARES:
                table, regrets = ranks(part, share), _mean_regrets(part, share)
                ratio = float((regrets[name] / regrets[second].clip(lower=1e-12)).median())
                found[name, family, share] = ratio, (table[second] - table[name]).to_numpy()
    adjusted = holm([wilcoxon(differences).p for _, differences in found.values()])
    return {
        key: Comparison(ratio, Duel(len(values), int((values > 0).sum()), int((values < 0).sum()), p))
        for (key, (ratio, values)), p in zip(found.items(), adjusted, strict=True)
    }


def _mean_regrets(studies: pd.DataFrame, share: int) -> pd.DataFrame:
    """Mean regrets after this share of the budget. [problems x samplers]"""
    point = share * POINTS // 100 - 1
    rows = studies.assign(regret=[float(values[point]) for values in studies["regrets"]])
    return rows.pivot_table(index=["family", "problem"], columns="sampler", values="regret", aggfunc="mean")


def relative_regrets(studies: pd.DataFrame, sampler: str, reference: str) -> Mapping[str, float]:
    """Family -> the median over its problems of the mean regret at the end, relative to the reference's."""
    table = _mean_regrets(studies, 100)
    ratios = table[sampler] / table[reference].clip(lower=1e-12)
    return {str(name): float(value) for name, value in ratios.groupby("family").median().items()}
