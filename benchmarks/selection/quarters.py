"""The quarters of train, and what a training learns from and predicts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rigsl.data.corpus import Corpus
from rigsl.data.folds import train_folds
from rigsl.data.source import load_corpus

#: Number of the parts that train is cut into, and the seed of the cut.
QUARTERS, CUT_SEED = 4, 17


@cache
def corpus() -> Corpus:
    """The bundled corpus; the labels of test are hidden."""
    return corpus_with_test().without_test_labels()


@cache
def corpus_with_test() -> Corpus:
    """The bundled corpus with the labels of test, which are sealed."""
    return load_corpus("MELD", "open")


@cache
def quarter_of_dialogue() -> NDArray[np.int64]:
    """The quarter of every training dialogue; -1 for the dialogues of dev and test. [n]"""
    return train_folds(corpus(), QUARTERS, CUT_SEED)


@dataclass(frozen=True)
class Part:
    """The quarters that a training learns from.

    Two of them: a fold of the pseudo-tests that the other two are. Three: the training of the pseudo-test
    that the fourth is, and a fold of all of train. Four: all of train.
    """

    learned: tuple[int, ...]

    @property
    def held(self) -> tuple[int, ...]:
        """The quarters that it predicts."""
        return tuple(quarter for quarter in range(QUARTERS) if quarter not in self.learned)

    @property
    def name(self) -> str:
        """Such as ``012``."""
        return "".join(map(str, self.learned))

    def held_out(self) -> NDArray[np.int64]:
        """The dialogues of train that it does not learn from."""
        return np.flatnonzero(np.isin(quarter_of_dialogue(), self.held))


def parts(size: int) -> list[Part]:
    """All parts of `size` quarters."""
    return [Part(learned) for learned in itertools.combinations(range(QUARTERS), size)]


WHOLE = Part(tuple(range(QUARTERS)))
