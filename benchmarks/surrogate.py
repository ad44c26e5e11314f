"""Learning curves of configurations that are not in the table, from those that are.

Two forests of randomised trees (Geurts et al., 2006) give the mean: of the scores of all epochs, and of the
seconds of an epoch. What seeds add is drawn from the best configurations' trainings with several seeds: the
deviation of one of them from its configuration's mean, as a whole curve, so that neighbouring epochs keep
together. The draw belongs to configuration and study: the same configuration gets the same curve.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold

from benchmarks.simulator import Epoch
from search.space import Space

Floats = NDArray[np.float64]
TREES = 64


@dataclass(frozen=True)
class Table:
    """n configurations with their first trainings' curves over E epochs, and the deviations of k trainings.

    params: n; scores, seconds: [n, E], what diverged keeps its last score; deviations: [k, E].
    """

    numbers: NDArray[np.int64]
    params: Sequence[Mapping[str, Any]]
    scores: Floats
    seconds: Floats
    deviations: Floats


def read_table(frame: pd.DataFrame, space: Space, column: str = "weighted_f1") -> Table:
    """The table in the long form of ``curve_table``: one row for number, seed and epoch."""
    wide = frame.pivot(index=["number", "seed"], columns="epoch", values=column).ffill(axis=1)
    first = wide.xs(0, level="seed")
    rows = frame[(frame["seed"] == 0) & (frame["epoch"] == 1)].set_index("number").loc[first.index]
    params = [
        {name: _value(value) for name, value in row.items() if name in space.parameters and value == value}
        for row in rows.to_dict("records")
    ]
    seconds = np.ones(first.shape)
    if "seconds" in frame:
        seconds = frame.pivot(index=["number", "seed"], columns="epoch", values="seconds").xs(0, level="seed")
        seconds = seconds.ffill(axis=1).to_numpy()
    return Table(first.index.to_numpy(), params, first.to_numpy(), seconds, _deviations(wide))


def _value(value: Any) -> Any:
    """A number as the space has it: Parquet holds a conditional whole number as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _deviations(wide: pd.DataFrame) -> Floats:
    """Of the trainings of one configuration with several seeds from their mean, unbiased in size."""
    found = []
    for _, group in wide.groupby(level="number"):
        if (count := len(group)) > 1:
            centred = group.to_numpy() - group.to_numpy().mean(axis=0)
            found.append(centred * math.sqrt(count / (count - 1)))
    return np.concatenate(found) if found else np.zeros((1, wide.shape[1]))


class Surrogate:
    """Curves for any configuration of the space."""

    def __init__(self, space: Space, table: Table, seed: int = 0) -> None:
        self.space, self.table = space, table
        inputs = np.array([self._encode(params) for params in table.params])
        self._scores = _forest(seed).fit(inputs, table.scores)
        self._seconds = _forest(seed).fit(inputs, np.log(table.seconds.mean(axis=1)))

    def mean(self, params: Mapping[str, Any]) -> Floats:
        """The expected score after every epoch. [E]"""
        return _predict(self._scores, self._encode(params))

    def curve(self, config: Mapping[str, Any], study: int = 0) -> list[Epoch]:
        """A training of a configuration as `study` sees it."""
        params = {name: config[name] for name in self.space.parameters if self._active(name, config)}
        text = json.dumps([params, study], sort_keys=True).encode()
        place = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % len(self.table.deviations)
        scores = np.clip(self.mean(params) + self.table.deviations[place], 0.0, 1.0)
        seconds = float(np.exp(_predict(self._seconds, self._encode(params))[0]))
        return [Epoch(float(score), seconds) for score in scores]

    def _active(self, name: str, config: Mapping[str, Any]) -> bool:
        return self.space.parameters[name].active(dict(config))

    def _encode(self, params: Mapping[str, Any]) -> Floats:
        """A number for each parameter: its place in its range, or -1 where it does not exist."""
        return np.array([_place(one, params.get(name)) for name, one in self.space.parameters.items()])


def _place(parameter: Any, value: Any) -> float:
    if value is None:
        return -1.0
    if parameter.kind == "choice":
        return float(parameter.values.index(value))
    return math.log(value) if parameter.log else float(value)


def _forest(seed: int) -> ExtraTreesRegressor:
    return ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=seed, n_jobs=1)


def _predict(forest: ExtraTreesRegressor, inputs: Floats) -> Floats:
    """The forest's mean for one row, without scikit-learn's checks of it, which take 20 times as long."""
    row = inputs.astype(np.float32)[None]
    return np.mean([tree.tree_.predict(row)[0] for tree in forest.estimators_], axis=0).ravel()


def held_out_error(space: Space, table: Table, folds: int = 10) -> dict[str, float]:
    """How far predictions for configurations that were left out are off.

    rmse: of the best score of a curve; spread: the standard deviation of that score; rank: Spearman's
    correlation of it; rank_after_3: the same for the score after three epochs; seconds: the median factor.
    """
    from scipy import stats

    truth, found, early, times = [], [], [], []
    for kept, left in KFold(folds, shuffle=True, random_state=0).split(table.scores):
        part = Table(
            table.numbers[kept],
            [table.params[index] for index in kept],
            table.scores[kept],
            table.seconds[kept],
            table.deviations,
        )
        fitted = Surrogate(space, part)
        for index in left:
            curve = fitted.mean(table.params[index])
            seconds = fitted.curve(table.params[index])[0].seconds
            truth.append(table.scores[index].max())
            found.append(curve.max())
            early.append((table.scores[index][2], curve[2]))
            times.append(abs(math.log(seconds / table.seconds[index].mean())))
    difference = np.array(truth) - np.array(found)
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "spread": float(np.std(truth)),
        "rank": float(stats.spearmanr(truth, found).statistic),
        "rank_after_3": float(stats.spearmanr(*zip(*early, strict=True)).statistic),
        "seconds": float(np.exp(np.median(times))),
    }
