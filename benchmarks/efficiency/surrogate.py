"""Learning curves of configurations that are not in the table, from those that are.

The mean is that of Gaussian processes (Matern 5/2 with a length for every parameter, hyperparameters by
marginal likelihood) over the leading principal components of all trainings' curves, as logits: they go above
the best curve of the table where its neighbourhood says so, which trees cannot. A second model, a forest of
randomised trees (Geurts et al., 2006), is there to show how much hangs on the first one.

What seeds add is drawn from the trainings of one configuration with several seeds: the deviation of one of
them from their mean, as a whole curve, so that neighbouring epochs keep together. The draw belongs to
configuration and study: the same configuration gets the same curve.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import threadpoolctl
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel
from sklearn.model_selection import GroupKFold

from benchmarks.efficiency.simulator import Epoch
from search.space.space import Space

Floats = NDArray[np.float64]
MODELS = ("gp", "forest")
TREES = 64
#: Principal components of the curves; the rest is less than what seeds add.
COMPONENTS = 4


@dataclass(frozen=True)
class Table:
    """n trainings over E epochs, and the deviations of those that were repeated with other seeds.

    numbers: the configuration, [n]; params: n; scores: [n, E], what diverged keeps its last score; seconds:
    of a mean epoch, [n]; blocks: which of several measurements, on one machine each, the seconds come from,
    [n]; deviations: [k, E].
    """

    numbers: NDArray[np.int64]
    params: Sequence[Mapping[str, Any]]
    scores: Floats
    seconds: Floats
    blocks: NDArray[np.int64]
    deviations: Floats

    def part(self, rows: NDArray[np.int64]) -> Table:
        """These trainings alone; the deviations stay."""
        params = [self.params[row] for row in rows]
        return Table(
            self.numbers[rows], params, self.scores[rows], self.seconds[rows], self.blocks[rows],
            self.deviations,
        )  # fmt: skip


def read_table(frame: pd.DataFrame, space: Space, column: str = "weighted_f1") -> Table:
    """The table in the long form of ``curve_table``: one row for number, seed and epoch."""
    keys = ["number", "seed"]
    wide = frame.pivot(index=keys, columns="epoch", values=column).ffill(axis=1)
    first = frame.sort_values("epoch").groupby(keys).first().loc[wide.index]
    seconds = frame.groupby(keys)["seconds"].mean().loc[wide.index].to_numpy(float)
    known = np.isfinite(wide.to_numpy()).all(axis=1)  # not: diverged in the first epoch
    params = [read_params(row, space) for row in first[known].to_dict("records")]
    commits = first["commit"] if "commit" in first else pd.Series("", first.index)
    order = list(commits[known].value_counts(ascending=True, sort=True).index)
    return Table(
        wide[known].index.get_level_values("number").to_numpy(np.int64),
        params,
        wide[known].to_numpy(float),
        seconds[known],
        np.array([order.index(one) for one in commits[known]]),
        _deviations(wide[known]),
    )


def read_params(row: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """A configuration from a row: Parquet has whole numbers as floats where some lack, and NaN for those."""
    found = {name: row[name] for name in space.parameters if row[name] == row[name] and row[name] is not None}
    return {
        name: int(value) if isinstance(value, float) and space.parameters[name].kind != "float" else value
        for name, value in found.items()
    }


def _deviations(wide: pd.DataFrame) -> Floats:
    """Of the trainings of one configuration with several seeds from their mean, unbiased in size."""
    found = []
    for _, group in wide.groupby(level="number"):
        if (count := len(group)) > 1:
            centred = group.to_numpy() - group.to_numpy().mean(axis=0)
            found.append(centred * math.sqrt(count / (count - 1)))
    return np.concatenate(found) if found else np.zeros((1, wide.shape[1]))


class Model(Protocol):
    """A regression from places in the space, [n, p], to any number of columns."""

    def fit(self, inputs: Floats, targets: Floats) -> Model:
        """Learn from n rows."""

    def predict(self, inputs: Floats) -> Floats:
        """The means for rows."""


class Processes:
    """A Gaussian process for each principal component of the targets."""

    def fit(self, inputs: Floats, targets: Floats) -> Processes:
        """Learn from n rows. inputs: [n, p] within 0 and 1; targets: [n, E]."""
        count = min(COMPONENTS, *targets.shape)
        self._components = PCA(count).fit(targets)
        places = self._components.transform(targets)
        self._centres, spreads = places.mean(axis=0), places.std(axis=0)
        self._spreads = np.where(spreads > 0, spreads, 1.0)
        scaled = (places - self._centres) / self._spreads
        self._processes = [_process(inputs.shape[1]) for _ in range(count)]
        # A length at its bound: a parameter that matters little. More threads only wait for each other.
        with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            for process, place in zip(self._processes, scaled.T, strict=True):
                process.fit(inputs, place)
        return self

    def predict(self, inputs: Floats) -> Floats:
        """The means. [m, p] -> [m, E]; without scikit-learn's checks, which take as long again."""
        means = [one.kernel_(inputs, one.X_train_) @ one.alpha_ for one in self._processes]
        places = self._centres + self._spreads * np.stack(means, axis=1)
        return np.asarray(self._components.inverse_transform(places))


def _process(inputs: int) -> GaussianProcessRegressor:
    kernel = 1.0 * Matern(np.ones(inputs), (0.05, 50), nu=2.5) + WhiteKernel(0.05, (1e-4, 2))
    return GaussianProcessRegressor(kernel, random_state=0)


class Forest:
    """Randomised trees, all columns of the targets together."""

    def fit(self, inputs: Floats, targets: Floats) -> Forest:
        """Learn from n rows."""
        trees = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=0, n_jobs=1)
        self._trees = trees.fit(inputs, targets)
        return self

    def predict(self, inputs: Floats) -> Floats:
        """The means; the trees themselves are asked: scikit-learn's checks take 20 times as long."""
        rows, trees = inputs.astype(np.float32), self._trees.estimators_
        return np.mean([tree.tree_.predict(rows)[..., 0] for tree in trees], axis=0)


class Surrogate:
    """Curves for any configuration of the space.

    Args:
        space: what may be asked for.
        table: what is known.
        model: of the scores, one of MODELS. Seconds are always those of a Gaussian process.
    """

    def __init__(self, space: Space, table: Table, model: str = "gp") -> None:
        self.space, self.table = space, table
        inputs = np.array([self._encode(params) for params in table.params])
        self._scores = (Processes() if model == "gp" else Forest()).fit(inputs, logit(_inside(table.scores)))
        # What was measured on another machine or by older code differs by a factor: one more input.
        blocks = np.eye(int(table.blocks.max()) + 1)[:, 1:]
        timed = np.concatenate([inputs, blocks[table.blocks]], axis=1)
        self._block = blocks[-1]
        self._means: dict[bytes, Floats] = {}  #: of configurations that have been asked for
        self._seconds = Processes().fit(timed, np.log(table.seconds)[:, None])

    def mean(self, params: Mapping[str, Any]) -> Floats:
        """The expected score after every epoch. [E]"""
        place = self._encode(params)
        if (key := place.tobytes()) not in self._means:
            self._means[key] = np.asarray(expit(self._scores.predict(place[None])[0]))
        return self._means[key]

    def seconds(self, params: Mapping[str, Any]) -> float:
        """How long an epoch takes."""
        place = np.concatenate([self._encode(params), self._block])
        return float(np.exp(self._seconds.predict(place[None])[0, 0]))

    def curve(self, config: Mapping[str, Any], study: int = 0) -> list[Epoch]:
        """A training of a configuration as `study` sees it."""
        params = self.params(config)
        text = json.dumps([params, study], sort_keys=True).encode()
        place = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % len(self.table.deviations)
        scores = np.clip(self.mean(params) + self.table.deviations[place], 0.0, 1.0)
        seconds = self.seconds(params)
        return [Epoch(float(score), seconds) for score in scores]

    def params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The searched parameters of a configuration, those that exist in it."""
        space = self.space.parameters
        return {name: config[name] for name, one in space.items() if one.active(dict(config))}

    def _encode(self, params: Mapping[str, Any]) -> Floats:
        """A number for each parameter: its place in its range; where it does not exist, the range's middle.

        That it does not exist is told by the parameter that its condition names.
        """
        return np.array([_place(one, params.get(name)) for name, one in self.space.parameters.items()])


def _inside(scores: Floats) -> Floats:
    return np.clip(scores, 1e-3, 1 - 1e-3)


def _place(parameter: Any, value: Any) -> float:
    if value is None:
        return 0.5
    if parameter.kind == "choice":
        return float(parameter.values.index(value)) / max(1, len(parameter.values) - 1)
    low, high = parameter.low, parameter.high
    if parameter.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value - low) / (high - low))


def folds(table: Table, count: int = 10) -> Iterator[tuple[Table, Table]]:
    """What is kept and what is left out; all trainings of a configuration are on one side."""
    for kept, left in GroupKFold(count, shuffle=True, random_state=0).split(
        table.scores, groups=table.numbers
    ):
        yield table.part(kept), table.part(left)


def predictions(space: Space, kept: Table, left: Table, model: str = "gp") -> pd.DataFrame:
    """Truth and prediction for the trainings of `left`, by a surrogate that knows `kept` alone."""
    fitted = Surrogate(space, kept, model)
    curves = np.array([fitted.mean(params) for params in left.params])
    seconds = [fitted.seconds(params) for params in left.params]
    return pd.DataFrame(
        {
            "number": left.numbers,
            "best": left.scores.max(axis=1),
            "best_predicted": curves.max(axis=1),
            "third": left.scores[:, 2],
            "third_predicted": curves[:, 2],
            "seconds": left.seconds,
            "seconds_predicted": seconds,
            "block": left.blocks,
        }
    )


def errors(found: pd.DataFrame) -> dict[str, float]:
    """How far predictions for configurations that were left out are off.

    rmse: of the best score of a curve; spread: the standard deviation of that score; rank: Spearman's
    correlation of it, and over the trainings above the 70 % quantile alone; rank_after_3: the same for the
    score after three epochs; bias_of_best: the mean of prediction less truth above that quantile; seconds:
    the median factor, within the largest block of measurements. Trainings of one configuration count as one,
    their mean.
    """
    found = found.groupby("number").mean()
    best = found["best"] > found["best"].quantile(0.7)
    timed = found[found["block"] == found["block"].max()]
    difference = found["best_predicted"] - found["best"]
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "spread": float(found["best"].std(ddof=0)),
        "rank": _rank(found, "best"),
        "rank_of_best": _rank(found[best], "best"),
        "rank_after_3": _rank(found, "third"),
        "bias_of_best": float(difference[best].mean()),
        "seconds": float(np.exp(np.abs(np.log(timed["seconds_predicted"] / timed["seconds"])).median())),
    }


def agreement(validation: Table, test: Table) -> dict[str, float]:
    """Whether test agrees with validation on which real configurations are the best: over the best 30 % on
    validation, how many they are and the rank correlation of both scores, at the best epoch on validation.
    """
    if not np.array_equal(validation.numbers, test.numbers):
        raise ValueError("the tables of validation and test are not of the same trainings")
    rows, epochs = np.arange(len(validation.numbers)), validation.scores.argmax(axis=1)
    scores = {"validation": validation.scores[rows, epochs], "test": test.scores[rows, epochs]}
    found = pd.DataFrame({"number": validation.numbers, **scores}).groupby("number").mean()
    best = found[found["validation"] > found["validation"].quantile(0.7)]
    rank = float(stats.spearmanr(best["validation"], best["test"]).statistic)
    return {"best": float(len(best)), "best_on_test": rank}


def _rank(found: pd.DataFrame, what: str) -> float:
    return float(stats.spearmanr(found[what], found[f"{what}_predicted"]).statistic)
