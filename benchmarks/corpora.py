"""Corpora for measurements, with the dialogue lengths and feature widths of MELD and IEMOCAP, or longer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rigsl.data.corpus import Corpus
from rigsl.data.source import load_corpus

#: Widths of the official features.
IEMOCAP_WIDTHS = {"l": 1024, "a": 1582, "v": 342}
MELD_WIDTHS = {"l": 1024, "a": 300, "v": 342}


def synthetic_corpus(
    lengths: Sequence[int] | NDArray[np.int64],
    widths: dict[str, int],
    *,
    validation: int,
    views: int = 1,
    speakers: int | NDArray[np.int64] = 2,
    classes: int = 6,
    text_default: str = "mean",
) -> Corpus:
    """A corpus of random features.

    Args:
        lengths: utterances of each dialogue.
        widths: modality -> feature width.
        validation: number of dialogues, the last ones, in the validation split.
        views: of the text features.
        speakers: number of speakers who take turns, or the speaker of each utterance.
        classes: number of emotions, at most 7.
        text_default: default of the text features.
    """
    rng = np.random.default_rng(0)
    count = int(np.sum(lengths))
    turn = np.concatenate([np.arange(length) for length in lengths])
    shapes = {
        letter: (count, views, width) if letter == "l" else (count, width) for letter, width in widths.items()
    }
    return Corpus(
        name="synthetic",
        features={name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()},
        labels=rng.integers(0, classes, count),
        speakers=turn % speakers if isinstance(speakers, int) else speakers,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        splits=np.array([0] * (len(lengths) - validation) + [1] * validation, dtype=np.uint8),
        dialogue_ids=tuple(str(index) for index in range(len(lengths))),
        classes=tuple("abcdefg"[:classes]),
        text_default=text_default,
        text=np.frombuffer(b"x" * count, dtype=np.uint8),
        text_offsets=np.arange(count + 1),
        provenance={},
    )


def _lengths(count: int, mean: float, longest: int) -> NDArray[np.int64]:
    """Dialogue lengths, skewed as those of MELD and IEMOCAP; one of them is `longest`."""
    lengths = np.random.default_rng(1).gamma(4.0, mean / 4.0, count).round().clip(1, longest).astype(np.int64)
    lengths[count // 3] = longest
    return lengths


def iemocap_dialogues(count: int, *, validation: int) -> Corpus:
    """Dialogues of IEMOCAP's lengths (49 utterances on average, at most 110), with features of its widths."""
    return synthetic_corpus(
        _lengths(count, 49, 110), IEMOCAP_WIDTHS, validation=validation, views=4, text_default="first"
    )


def meld_dialogues(count: int, *, validation: int) -> Corpus:
    """Lengths and speakers of real MELD training dialogues, with random features of MELD's widths."""
    corpus = load_corpus("MELD", "open")
    chosen = np.random.default_rng(1).permutation(corpus.dialogues("train"))[:count]
    return synthetic_corpus(
        corpus.lengths[chosen],
        MELD_WIDTHS,
        validation=validation,
        views=4,
        speakers=corpus.speakers[corpus.rows(chosen)],
        classes=len(corpus.classes),
    )


def open_meld() -> Corpus:
    """MELD with the open features: every fourth training dialogue, and the dev split."""
    corpus = load_corpus("MELD", "open")
    return part_of(corpus, np.concatenate([corpus.dialogues("train")[::4], corpus.dialogues("dev")]))


def part_of(corpus: Corpus, dialogues: NDArray[np.int64]) -> Corpus:
    """These dialogues of a corpus, without their texts."""
    rows = corpus.rows(dialogues)
    return Corpus(
        name=corpus.name,
        features={letter: values[rows] for letter, values in corpus.features.items()},
        labels=corpus.labels[rows],
        speakers=corpus.speakers[rows],
        offsets=np.concatenate([[0], np.cumsum(corpus.lengths[dialogues])]),
        splits=corpus.splits[dialogues],
        dialogue_ids=tuple(corpus.dialogue_ids[index] for index in dialogues),
        classes=corpus.classes,
        text_default=corpus.text_default,
        text=np.frombuffer(b"x" * len(rows), dtype=np.uint8),
        text_offsets=np.arange(len(rows) + 1),
        provenance={},
    )


def one_long_dialogue() -> Corpus:
    """Short dialogues, and one of 300 utterances."""
    return synthetic_corpus([20] * 10 + [300] + [20] * 5, {"l": 64, "d": 20}, validation=5)
