"""Learning curves that are not RIGSL's: ``python -m benchmarks.efficiency.mlp_curves``.

scikit-learn's MLPClassifier (stochastic gradient descent with momentum) is trained on two public problems
that scikit-learn generates, with every configuration of the grid in ``benchmarks/curves/mlp.toml`` and two
seeds. Small steps and large batches start slowly. The score is the weighted F1 on held-out rows after every
epoch.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import threadpoolctl
from numpy.typing import NDArray
from rich.progress import track
from sklearn.datasets import make_classification, make_hastie_10_2
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from benchmarks.efficiency.curve_table import TABLES
from rigsl.files import replacing
from search.space.space import Space, read_space

SPACE, TABLE = TABLES / "mlp.toml", TABLES / "mlp.parquet"
DATA_SETS = ("hastie", "clusters")
SEEDS, TRAIN_ROWS, TEST_ROWS = 2, 400, 600


class Rows(NamedTuple):
    """A data set, cut in two."""

    train: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float64]
    test_labels: NDArray[np.int64]


@cache
def mlp_space() -> Space:
    """The grid, in the names of RIGSL's hyperparameters."""
    return read_space(SPACE)


@cache
def rows(name: str) -> Rows:
    """The standardised data set `name`, one of DATA_SETS."""
    if name == "hastie":  # Hastie et al., Elements of Statistical Learning, example 10.2
        inputs, labels = make_hastie_10_2(n_samples=TRAIN_ROWS + TEST_ROWS, random_state=0)
    else:  # Guyon's generator of the Madelon data, with mislabelled rows
        inputs, labels = make_classification(
            TRAIN_ROWS + TEST_ROWS, n_features=20, n_informative=8, n_redundant=4, n_classes=5,
            n_clusters_per_class=3, flip_y=0.1, class_sep=1.5, random_state=0,
        )  # fmt: skip
    labels = np.unique(labels, return_inverse=True)[1]
    train, test, train_labels, test_labels = train_test_split(
        inputs, labels, train_size=TRAIN_ROWS, test_size=TEST_ROWS, random_state=0, stratify=labels
    )
    scaler = StandardScaler().fit(train)
    return Rows(scaler.transform(train), train_labels, scaler.transform(test), test_labels)


def grid() -> list[dict[str, Any]]:
    """Every configuration."""
    parameters = mlp_space().parameters
    values = itertools.product(*(parameter.values for parameter in parameters.values()))
    return [dict(zip(parameters, chosen, strict=True)) for chosen in values]


def train(name: str, params: Mapping[str, Any], seed: int, epochs: int) -> tuple[list[float], float]:
    """The score after every epoch, and the mean processor seconds of one; a diverged training scores 0."""
    data = rows(name)
    model = MLPClassifier(
        (params["hidden_dim"],) * params["num_L"], solver="sgd", momentum=0.9, alpha=params["l2"],
        batch_size=params["batch_size"], learning_rate_init=params["lr"], random_state=seed,
    )  # fmt: skip
    scores, seconds, classes = [], 0.0, np.unique(data.train_labels)
    for _ in range(epochs):
        start = time.process_time()
        try:
            model.partial_fit(data.train, data.train_labels, classes=classes)
        except ValueError as error:
            if "non-finite" not in str(error):  # of the weights
                raise
            return [*scores, *[0.0] * (epochs - len(scores))], seconds / max(len(scores), 1)
        seconds += time.process_time() - start
        scores.append(float(f1_score(data.test_labels, model.predict(data.test), average="weighted")))
    return scores, seconds / epochs


def measure() -> pd.DataFrame:
    """All trainings: one row for each data set, configuration and seed, with its scores as a list."""
    epochs = mlp_space().config(grid()[0], 0).epochs
    jobs = list(itertools.product(DATA_SETS, grid(), range(SEEDS)))
    entries = []
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        warnings.simplefilter("ignore")  # overflows, and classes that are never predicted
        for name, params, seed in track(jobs, "trainings"):
            scores, seconds = train(name, params, seed, epochs)
            scored = [round(score, 4) for score in scores]
            entries.append({"data": name, **params, "seed": seed, "seconds": seconds, "scores": scored})
    return pd.DataFrame(entries)


def main() -> None:
    """Measure the table and write it."""
    table = measure()
    with replacing(TABLE) as temporary:
        table.to_parquet(temporary, compression="zstd", index=False)
    print(f"wrote {TABLE.name}: {len(table)} trainings of {', '.join(DATA_SETS)}")


if __name__ == "__main__":
    main()
