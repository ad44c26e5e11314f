"""Models on the columns of a `Setup`: logistic regression on every utterance by itself, and RIGSL.

Both predict the held utterances and the pseudo-test; the predictions are kept in a file for each model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.features.constructions import Setup
from benchmarks.features.cuts import DEV, TEST, TRAIN
from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.data.open.processes import in_processes
from rigsl.data.scaling import LIMIT
from rigsl.files import replacing
from rigsl.training.evaluation import predict
from rigsl.training.fit import fit

LEARNERS = ("logistic regression", "RIGSL")
#: Inverse strength of the logistic regression's penalty.
PENALTY = 0.01


def train_all(
    setups: Sequence[Setup],
    tests: Sequence[np.ndarray],
    corpus: Corpus,
    configs: Sequence[RIGSLConfig],
    folder: Path,
    processes: int,
) -> dict[tuple[str, int], np.ndarray]:
    """(learner, index of the setup) -> predicted classes [U]; -1 where it was trained or has no say.

    Args:
        setups: what to train on.
        tests: the pseudo-test of each cut, bool [U].
        corpus: frozen vectors and delivery of the training dialogues.
        configs: of RIGSL, one for each setup.
        folder: of what is kept; trainings that are there are not repeated.
        processes: trainings at the same time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        (learner, index): folder / f"{learner.replace(' ', '-')}_{_name(setup)}.npy"
        for learner in LEARNERS
        for index, setup in enumerate(setups)
    }
    jobs = [
        {
            "learner": learner,
            "setup": setups[index],
            "test": tests[setups[index].cut],
            "corpus": corpus,
            "config": configs[index],
            "path": path,
        }
        for (learner, index), path in paths.items()
        if not path.exists()
    ]
    if jobs:
        in_processes(_train, jobs, processes, "models", len(jobs))
    return {key: np.load(path).astype(np.int64) for key, path in paths.items()}


def _name(setup: Setup) -> str:
    words = (f"cut{setup.cut}", setup.construction, setup.validation, f"fold{setup.fold}")
    return "_".join(words).replace(" ", "-")


def _train(
    learner: str,
    setup: Setup,
    test: np.ndarray,
    corpus: Corpus,
    config: RIGSLConfig,
    path: Path,
    on_steps: Callable[[int], object],
) -> None:
    predicted = _MODELS[learner](setup, test, corpus, config)
    kept = np.where(setup.held | test, predicted, -1)
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, kept.astype(np.int8))
    on_steps(1)


def logistic_regression(
    setup: Setup, test: np.ndarray, corpus: Corpus, config: RIGSLConfig | None = None
) -> np.ndarray:
    """Predicted classes [U] of a logistic regression on standardised features; -1 for other rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    parts = [corpus.features["l"][:, 0].astype(np.float64), corpus.features["d"].astype(np.float64)]
    table = np.concatenate([*parts, *([] if setup.columns is None else [setup.columns])], axis=1)
    scaler = StandardScaler().fit(table[setup.train])
    model = LogisticRegression(C=PENALTY, max_iter=2000)
    model.fit(scaler.transform(table[setup.train]), corpus.labels[setup.train])
    result = np.full(len(test), -1)
    used = setup.train | setup.held | test
    result[used] = model.predict(scaler.transform(table[used]))
    return result


def rigsl(setup: Setup, test: np.ndarray, corpus: Corpus, config: RIGSLConfig) -> np.ndarray:
    """Predicted classes [U] of RIGSL, its epoch chosen on the held dialogues; -1 for other rows."""
    own = cut_corpus(setup, test, corpus)
    model = fit(config, own).model
    result = np.full(len(test), -1)
    used = np.flatnonzero(setup.train | setup.held | test)
    result[used] = predict(model, own).argmax(axis=1)
    return result


def cut_corpus(setup: Setup, test: np.ndarray, corpus: Corpus) -> Corpus:
    """The dialogues of a setup as a corpus of three splits, the columns among its delivery features."""
    from benchmarks.corpora import part_of

    split = np.select([setup.train, setup.held, test], [TRAIN, DEV, TEST], -1)[corpus.offsets[:-1]]
    own = part_of(corpus, np.flatnonzero(split >= 0))
    rows = corpus.rows(np.flatnonzero(split >= 0))
    features = dict(own.features)
    if setup.columns is not None:
        learned = setup.columns[setup.train]
        columns = (setup.columns[rows] - learned.mean(axis=0)) / learned.std(axis=0)
        columns = np.clip(columns, -LIMIT, LIMIT).astype(features["d"].dtype)
        features["d"] = np.concatenate([features["d"], columns], axis=1)
    return dataclasses.replace(own, features=features, splits=split[split >= 0].astype(np.uint8))


_MODELS: Mapping[str, Callable[..., np.ndarray]] = dict(
    zip(LEARNERS, (logistic_regression, rigsl), strict=True)
)
