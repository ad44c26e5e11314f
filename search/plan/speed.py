"""How fast this machine trains, from a second of training on a piece of the corpus."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import SPLITS, Corpus
from rigsl.device import threads
from rigsl.memory import Shapes, estimate_epoch_seconds
from rigsl.training.trainer import Training

#: Batches of the piece, and utterances of a dialogue in it: long ones are cut.
BATCHES, LONGEST = 6, 40


def core_speed(config: RIGSLConfig, corpus: Corpus) -> float:
    """Seconds of a training on one core of this machine, as a multiple of their estimate.

    The second epoch on a piece of the corpus is measured; the first one warms up.
    """
    part = piece(corpus, BATCHES * config.batch_size)
    with threads(1):
        training = Training(config.replace(epochs=2), part)
        training.step()
        seconds = training.step().seconds
    return seconds / estimate_epoch_seconds(config, Shapes.of(part))


def piece(corpus: Corpus, dialogues: int) -> Corpus:
    """The beginnings of some training dialogues, of all lengths, and of as large a share of validation's."""
    train, dev = corpus.dialogues("train"), corpus.dialogues("dev")
    count = min(dialogues, len(train))
    chosen = [*_spread(corpus, train, count), *_spread(corpus, dev, math.ceil(len(dev) * count / len(train)))]
    lengths = np.minimum(corpus.lengths[chosen], LONGEST)
    rows = np.concatenate(
        [corpus.offsets[i] + np.arange(length) for i, length in zip(chosen, lengths, strict=True)]
    )
    return dataclasses.replace(
        corpus,
        features={key: array[rows] for key, array in corpus.features.items()},
        labels=corpus.labels[rows],
        speakers=corpus.speakers[rows],
        offsets=np.append(0, np.cumsum(lengths)),
        splits=np.repeat(np.arange(len(SPLITS), dtype=np.uint8), [count, len(chosen) - count, 0]),
        dialogue_ids=tuple(corpus.dialogue_ids[i] for i in chosen),
        text=np.empty(0, dtype=np.uint8),
        text_offsets=np.zeros(len(rows) + 1, dtype=np.int64),
        n_speakers=corpus.schema.n_speakers,
    )


def _spread(corpus: Corpus, dialogues: np.ndarray, count: int) -> np.ndarray:
    """`count` of these dialogues, evenly over their lengths."""
    by_length = dialogues[np.argsort(corpus.lengths[dialogues], kind="stable")]
    return np.asarray(by_length[np.linspace(0, len(by_length) - 1, count).astype(int)])
