"""Small corpora for tests."""

from __future__ import annotations

import dataclasses

import numpy as np

from rigsl.data.corpus import Corpus


def corpus_from_arrays(features, labels, speakers, lengths, classes, *, splits=None, text_default="mean"):
    """A corpus of given rows; every dialogue is in the training split unless `splits` says otherwise."""
    count = int(np.sum(lengths))
    return Corpus(
        name="test",
        features={letter: np.asarray(values, dtype=np.float32) for letter, values in features.items()},
        labels=np.asarray(labels, dtype=np.int64),
        speakers=np.asarray(speakers, dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        splits=np.asarray([0] * len(lengths) if splits is None else splits, dtype=np.uint8),
        dialogue_ids=tuple(f"d{index}" for index in range(len(lengths))),
        classes=tuple(f"class{index}" for index in range(classes)),
        text_default=text_default,
        text=np.frombuffer(b"x" * count, dtype=np.uint8),
        text_offsets=np.arange(count + 1, dtype=np.int64),
        provenance={},
    )


def toy_corpus(*, dialogues=30, longest=6, speakers=3, classes=4, seed=0, widths=None):
    """Learnable dialogues: the label is written into the text vector, with noise; 60 / 20 / 20 % splits.

    widths: feature width of each modality, by letter or name; without text, the label is in the first one.
    """
    rng = np.random.default_rng(seed)
    widths = widths or {"l": 8, "d": 5}
    lengths = rng.integers(1, longest + 1, dialogues)
    count = int(lengths.sum())
    labels = rng.integers(0, classes, count)
    features = {}
    told = next((name for name in ("l", "text") if name in widths), next(iter(widths)))
    for name, width in widths.items():
        values = rng.normal(size=(count, width))
        if name == told and width >= classes:
            values[:, :classes] += 2.0 * np.eye(classes)[labels]
        features[name] = values[:, None, :] if name == "l" else values
    turn = np.concatenate([np.arange(length) for length in lengths])
    splits = [0 if i % 5 < 3 else 1 if i % 5 == 3 else 2 for i in range(dialogues)]
    return corpus_from_arrays(features, labels, turn % speakers, lengths, classes, splits=splits)


def made_up_corpus():
    """Two speakers, ten classes and the modalities text, face and pulse: no dataset that the code knows."""
    corpus = toy_corpus(
        dialogues=30, longest=8, speakers=2, classes=10, widths={"text": 12, "face": 6, "pulse": 3}
    )
    return dataclasses.replace(corpus, name="Talks")
