"""A study in miniature: a corpus as MELD's, a space of four parameters, both as files, and its plan."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigsl.data.corpus import Corpus

if TYPE_CHECKING:
    from search.plan.plan import Plan

CLASSES = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")

SPACE = """
[study]
dataset = "MELD"
features = "open"

[fixed]
modals = "ld"
hidden_dim = 8
num_K = 1
nodeformer_heads = 1
nb_features_dim = 4
gumbel_k = 1
epochs = {epochs}

[space.lr]
type = "float"
low = 1e-4
high = 1e-1
log = true

[space.num_L]
type = "int"
low = 1
high = 2

[space.use_gumbel]
type = "choice"
values = [true, false]

[space.tau]
type = "float"
low = 0.1
high = 1.0
when = {{ use_gumbel = true }}

[[start]]
lr = 1e-2
num_L = 1
use_gumbel = true
tau = 0.5

[scheduler]
name = "asha"
grace = 1
reduction = 2

[budget.cpu]
trials = 6

[final]
finalists = 0
test_seeds = 0
"""


def make_corpus(seed: int = 0) -> Corpus:
    """30 dialogues of 2 to 6 utterances with the features and classes of MELD; the label shows in the text.

    `corpora.toy_corpus` is for tests of the model: any features and classes, in memory only. This one is what
    a search finds for ``--dataset MELD``, with utterances to read and half-precision text vectors.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 7, size=30)
    n = int(lengths.sum())
    labels = rng.integers(0, len(CLASSES), size=n)
    labels[: len(CLASSES)] = range(len(CLASSES))
    text = rng.normal(size=(n, 1, 12)) + 2 * np.eye(len(CLASSES), 12)[labels][:, None]
    speakers = np.concatenate([np.minimum(np.arange(length) % 2, length - 1) for length in lengths])
    words = [f"utterance {row}".encode() for row in range(n)]
    return Corpus(
        name="MELD-tiny",
        features={"l": text.astype(np.float16), "d": rng.normal(size=(n, 3)).astype(np.float32)},
        labels=labels.astype(np.int64),
        speakers=speakers.astype(np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        splits=np.repeat([0, 1, 2], [18, 6, 6]).astype(np.uint8),
        dialogue_ids=tuple(f"dialogue_{index}" for index in range(30)),
        classes=CLASSES,
        text_default="first",
        text=np.frombuffer(b"".join(words), dtype=np.uint8),
        text_offsets=np.cumsum([0, *map(len, words)]).astype(np.int64),
        provenance={"made": "by a test"},
    )


def write_home(folder: Path, epochs: int = 4) -> Path:
    """A working directory with ``data/meld_open.safetensors`` and ``space.toml``."""
    (folder / "data").mkdir(parents=True)
    make_corpus().save(folder / "data" / "meld_open.safetensors")
    (folder / "space.toml").write_text(SPACE.format(epochs=epochs), encoding="utf-8")
    return folder


def edited(home: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the toy space, other.toml, with these texts (old, new) exchanged."""
    text = (home / "space.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = home / "other.toml"
    path.write_text(text, encoding="utf-8")
    return path


def toy_plan(home: Path, workers: int = 2, **options: Any) -> Plan:
    """The plan of a study in the working directory `home`, on `workers` CPU workers.

    Args:
        home: made by `write_home`, and the working directory.
        workers: trials at a time.
        options: of `SearchOptions`; with `resume`, the plan of a study that goes on. Without, six trials,
            tracked in ``mlflow.db``.
    """
    from search.plan.new_study import prepare
    from search.plan.options import SearchOptions
    from search.resources.workers import Workers

    new = {"space": home / "space.toml", "trials": 6, "tracking_uri": f"sqlite:///{home}/mlflow.db"}
    given = ({} if "resume" in options else new) | {"data_dir": home / "data"} | options
    return dataclasses.replace(prepare(SearchOptions(**given)), workers=Workers(workers, "cpu"))
