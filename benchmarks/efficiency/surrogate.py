"""Surrogate model of learning curves: predicts the curve of any configuration from a table of real ones.

The default model is a Gaussian process (Matern 5/2 kernel, one length scale per parameter, hyperparameters by
maximum marginal likelihood) for each leading principal component of all trainings' logit-transformed curves.
Its posterior mean follows a trend between the trainings, where trees predict steps; it is cut at the best
real score of the epoch. The second model, a forest of extremely randomised trees (Geurts et al., 2006),
shows how much a result depends on the first.

Seed noise is drawn from configurations with like curves that were trained with several seeds: the deviation
of one training from their mean, as a whole curve, so that neighbouring epochs stay correlated. The draw is a
function of configuration and study seed: within a study, a configuration always has the same curve.
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

FloatArray = NDArray[np.float64]
MODELS = ("gp", "forest")
TREES = 64
#: Repeated trainings that seed noise is drawn from: those whose mean curves are most like the predicted one.
#: In early epochs the noise of slow configurations is ten times that of quick ones.
LIKE = 15
#: Principal components of the curves; the remaining variance is below the seed noise.
COMPONENTS = 4


@dataclass(frozen=True)
class CurveTable:
    """n trainings over E epochs, and the seed noise of those that were repeated with other seeds.

    numbers: configuration number, [n]; params: n; scores: [n, E], a diverged training keeps its last score;
    seconds: of a mean epoch, [n]; blocks: index of the measurement series (one machine and commit each) that
    the seconds come from, [n]; deviations: of curves from the mean curve of their configuration, [k, E];
    repeated: these mean curves, [k, E].
    """

    numbers: NDArray[np.int64]
    params: Sequence[Mapping[str, Any]]
    scores: FloatArray
    seconds: FloatArray
    blocks: NDArray[np.int64]
    deviations: FloatArray
    repeated: FloatArray

    def part(self, rows: NDArray[np.int64]) -> CurveTable:
        """Only these trainings, with all deviations."""
        params = [self.params[row] for row in rows]
        return CurveTable(
            self.numbers[rows], params, self.scores[rows], self.seconds[rows], self.blocks[rows],
            self.deviations, self.repeated,
        )  # fmt: skip


def read_table(frame: pd.DataFrame, space: Space, column: str = "weighted_f1") -> CurveTable:
    """Read the long form that ``curve_table`` writes: one row per number, seed and epoch."""
    keys = ["number", "seed"]
    wide = frame.pivot(index=keys, columns="epoch", values=column).ffill(axis=1)
    first = frame.sort_values("epoch").groupby(keys).first().loc[wide.index]
    seconds = frame.groupby(keys)["seconds"].mean().loc[wide.index].to_numpy(float)
    finite = np.isfinite(wide.to_numpy()).all(axis=1)  # False: diverged in the first epoch
    params = [read_params(row, space) for row in first[finite].to_dict("records")]
    origins = first[["commit", "machine"]].agg("; ".join, axis=1)[finite]
    order = list(origins.value_counts(ascending=True, sort=True).index)
    return CurveTable(
        wide[finite].index.get_level_values("number").to_numpy(np.int64),
        params,
        wide[finite].to_numpy(float),
        seconds[finite],
        np.array([order.index(origin) for origin in origins]),
        *_deviations(wide[finite]),
    )


def read_params(row: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The configuration in a row; Parquet has integers with missing values as floats, and None as NaN."""
    present = {
        name: row[name] for name in space.parameters if row[name] == row[name] and row[name] is not None
    }
    return {
        name: int(value) if isinstance(value, float) and space.parameters[name].kind != "float" else value
        for name, value in present.items()
    }


def _deviations(wide: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Deviations of repeated trainings from their configuration's mean curve, unbiased, and that curve."""
    deviations, means = [], []
    for _, group in wide.groupby(level="number"):
        if (count := len(group)) > 1:
            centred = group.to_numpy() - group.to_numpy().mean(axis=0)
            deviations.append(centred * math.sqrt(count / (count - 1)))
            means.append(group.to_numpy() - centred)
    if not deviations:
        return np.zeros((1, wide.shape[1])), np.zeros((1, wide.shape[1]))
    return np.concatenate(deviations), np.concatenate(means)


class Model(Protocol):
    """A regression from encoded configurations, [n, p], to any number of columns."""

    def fit(self, inputs: FloatArray, targets: FloatArray) -> Model:
        """Fit to n rows."""

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Predicted means of the rows."""


class GaussianProcesses:
    """A Gaussian process for each principal component of the targets."""

    def fit(self, inputs: FloatArray, targets: FloatArray) -> GaussianProcesses:
        """Fit to n rows. inputs: [n, p] in the unit cube; targets: [n, E]."""
        count = min(COMPONENTS, *targets.shape)
        self._pca = PCA(count).fit(targets)
        components = self._pca.transform(targets)
        self._means, deviations = components.mean(axis=0), components.std(axis=0)
        self._deviations = np.where(deviations > 0, deviations, 1.0)
        standardised = (components - self._means) / self._deviations
        self._processes = [_gaussian_process(inputs.shape[1]) for _ in range(count)]
        # ConvergenceWarning: a length scale at its bound belongs to a parameter that matters little.
        # One thread: on matrices of this size more threads only wait for each other.
        with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            for process, component in zip(self._processes, standardised.T, strict=True):
                process.fit(inputs, component)
        return self

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Posterior means, [m, p] -> [m, E], without scikit-learn's input checks, which double the time."""
        means = [process.kernel_(inputs, process.X_train_) @ process.alpha_ for process in self._processes]
        components = self._means + self._deviations * np.stack(means, axis=1)
        return np.asarray(self._pca.inverse_transform(components))


def _gaussian_process(parameters: int) -> GaussianProcessRegressor:
    # Bounds by cross-validation. With shorter length scales or less noise the processes fit the seed noise of
    # single trainings, and predict scores that no training has: among the best, the rank correlation was .28
    # and not .57.
    kernel = 1.0 * Matern(np.ones(parameters), (0.3, 50), nu=2.5) + WhiteKernel(0.2, (0.1, 2))
    return GaussianProcessRegressor(kernel, random_state=0)


class Forest:
    """Extremely randomised trees, for all columns of the targets together."""

    def fit(self, inputs: FloatArray, targets: FloatArray) -> Forest:
        """Fit to n rows."""
        trees = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=0, n_jobs=1)
        self._trees = trees.fit(inputs, targets)
        return self

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Means over the trees, which are called directly: scikit-learn's checks take 20 times as long."""
        rows, trees = inputs.astype(np.float32), self._trees.estimators_
        return np.mean([tree.tree_.predict(rows)[..., 0] for tree in trees], axis=0)


class Surrogate:
    """Predicted learning curves for every configuration of a space.

    Args:
        space: the search space.
        table: the real curves.
        model: of the scores, one of MODELS. Seconds are always predicted by Gaussian processes.
    """

    def __init__(self, space: Space, table: CurveTable, model: str = "gp") -> None:
        self.space, self.table = space, table
        inputs = np.array([self._encode(params) for params in table.params])
        regression: Model = GaussianProcesses() if model == "gp" else Forest()
        #: The best real score after every epoch, which no prediction exceeds: searches find every corner in
        #: which the components extrapolate to a curve that no training has.
        self._highest = table.scores.max(axis=0)
        self._scores = regression.fit(inputs, logit(_clip(table.scores)))
        # Seconds of another machine or of older code differ by a factor: the block is a one-hot input.
        blocks = np.eye(int(table.blocks.max()) + 1)[:, 1:]
        timed = np.concatenate([inputs, blocks[table.blocks]], axis=1)
        self._block = blocks[-1]
        self._mean_curves: dict[bytes, FloatArray] = {}  #: cache, by encoded configuration
        self._seconds = GaussianProcesses().fit(timed, np.log(table.seconds)[:, None])

    def mean(self, params: Mapping[str, Any]) -> FloatArray:
        """The expected score after every epoch. [E]"""
        encoded = self._encode(params)
        if (key := encoded.tobytes()) not in self._mean_curves:
            curve = expit(self._scores.predict(encoded[None])[0])
            self._mean_curves[key] = np.minimum(curve, self._highest)
        return self._mean_curves[key]

    def seconds(self, params: Mapping[str, Any]) -> float:
        """Seconds of one epoch."""
        encoded = np.concatenate([self._encode(params), self._block])
        return float(np.exp(self._seconds.predict(encoded[None])[0, 0]))

    def curve(self, config: Mapping[str, Any], study: int = 0) -> list[Epoch]:
        """The learning curve of a configuration in the study with seed `study`: mean curve and seed noise."""
        params = self.params(config)
        mean = self.mean(params)
        text = json.dumps([params, study], sort_keys=True).encode()
        distances = np.square(self.table.repeated - mean).sum(axis=1)
        like = np.argsort(distances, kind="stable")[:LIKE]
        row = like[int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % len(like)]
        scores = np.clip(mean + self.table.deviations[row], 0.0, 1.0)
        seconds = self.seconds(params)
        return [Epoch(float(score), seconds) for score in scores]

    def params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The searched parameters of a configuration that are active in it."""
        parameters = self.space.parameters.items()
        return {name: config[name] for name, parameter in parameters if parameter.active(dict(config))}

    def _encode(self, params: Mapping[str, Any]) -> FloatArray:
        """A unit-cube vector, one coordinate per parameter; an inactive parameter is imputed by 0.5.

        The parameter that its condition names tells the model that it is inactive.
        """
        return np.array(
            [_coordinate(parameter, params.get(name)) for name, parameter in self.space.parameters.items()]
        )


def _clip(scores: FloatArray) -> FloatArray:
    """Scores at which the logit is finite."""
    return np.clip(scores, 1e-3, 1 - 1e-3)


def _coordinate(parameter: Any, value: Any) -> float:
    """The position of a value in its range, from 0 to 1."""
    if value is None:
        return 0.5
    if parameter.kind == "choice":
        return float(parameter.values.index(value)) / max(1, len(parameter.values) - 1)
    low, high = parameter.low, parameter.high
    if parameter.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value - low) / (high - low))


def folds(table: CurveTable, count: int = 10) -> Iterator[tuple[CurveTable, CurveTable]]:
    """(training, held-out) tables of a cross-validation; a configuration's trainings stay together."""
    for train, held_out in GroupKFold(count, shuffle=True, random_state=0).split(
        table.scores, groups=table.numbers
    ):
        yield table.part(train), table.part(held_out)


def predictions(space: Space, train: CurveTable, held_out: CurveTable, model: str = "gp") -> pd.DataFrame:
    """True and predicted values of the trainings in `held_out`, by a surrogate fitted to `train` only."""
    fitted = Surrogate(space, train, model)
    curves = np.array([fitted.mean(params) for params in held_out.params])
    seconds = [fitted.seconds(params) for params in held_out.params]
    return pd.DataFrame(
        {
            "number": held_out.numbers,
            "best": held_out.scores.max(axis=1),
            "best_predicted": curves.max(axis=1),
            "third": held_out.scores[:, 2],
            "third_predicted": curves[:, 2],
            "seconds": held_out.seconds,
            "seconds_predicted": seconds,
            "block": held_out.blocks,
        }
    )


def prediction_errors(predicted: pd.DataFrame) -> dict[str, float]:
    """Errors of `predictions`; the trainings of one configuration count as one, their mean.

    rmse: root mean square error of a curve's best score; spread: standard deviation of the true best scores;
    rank_correlation: Spearman's, of true and predicted best scores; rank_correlation_of_best: the same among
    the best 30 % of configurations; rank_correlation_after_3: the same for the score after three epochs;
    bias_of_best: mean of prediction less truth among the best 30 %; seconds: median error of the seconds of
    an epoch as a factor, within the largest block of measurements.
    """
    rows = predicted.groupby("number").mean()
    best = rows["best"] > rows["best"].quantile(0.7)
    timed = rows[rows["block"] == rows["block"].max()]
    difference = rows["best_predicted"] - rows["best"]
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "spread": float(rows["best"].std(ddof=0)),
        "rank_correlation": _rank_correlation(rows, "best"),
        "rank_correlation_of_best": _rank_correlation(rows[best], "best"),
        "rank_correlation_after_3": _rank_correlation(rows, "third"),
        "bias_of_best": float(difference[best].mean()),
        "seconds": float(np.exp(np.abs(np.log(timed["seconds_predicted"] / timed["seconds"])).median())),
    }


def agreement(validation: CurveTable, test: CurveTable) -> dict[str, float]:
    """How well validation scores rank the best real configurations on test.

    best: number of configurations among the best 30 % on validation; best_on_test: Spearman's rank
    correlation of their validation and test scores, at the best epoch on validation.

    Raises:
        ValueError: the tables hold different trainings.
    """
    if not np.array_equal(validation.numbers, test.numbers):
        raise ValueError("the tables of validation and test are not of the same trainings")
    rows, epochs = np.arange(len(validation.numbers)), validation.scores.argmax(axis=1)
    scores = {"validation": validation.scores[rows, epochs], "test": test.scores[rows, epochs]}
    means = pd.DataFrame({"number": validation.numbers, **scores}).groupby("number").mean()
    best = means[means["validation"] > means["validation"].quantile(0.7)]
    correlation = float(stats.spearmanr(best["validation"], best["test"]).statistic)
    return {"best": float(len(best)), "best_on_test": correlation}


def _rank_correlation(rows: pd.DataFrame, column: str) -> float:
    return float(stats.spearmanr(rows[column], rows[f"{column}_predicted"]).statistic)
