"""The quarters of train, and what a training learns from and predicts."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.folds import stratified_parts
from rigsl.data.source import load_corpus

TRAIN, DEV, TEST = range(len(SPLITS))
#: Number of the parts that train is cut into, and the seed of the cut.
QUARTERS, CUT_SEED = 4, 17


@cache
def corpus() -> Corpus:
    """The bundled corpus; the labels of test are hidden."""
    return load_corpus("MELD", "open").without_test_labels()


@cache
def quarter_of_dialogue() -> NDArray[np.int64]:
    """The quarter of every training dialogue; -1 for the dialogues of dev and test. [n]"""
    whole = corpus()
    train = whole.dialogues("train")
    rows = whole.rows(train)
    dialogue = np.repeat(train, whole.lengths[train])
    result = np.full(len(whole.splits), -1)
    for quarter, part in enumerate(stratified_parts(whole.labels[rows], dialogue, QUARTERS, CUT_SEED)):
        result[dialogue[part]] = quarter
    return result


@dataclass(frozen=True, order=True)
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

    def dialogues(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The dialogues that it learns from, and those that it predicts: of `held`, then of dev."""
        quarters = quarter_of_dialogue()
        held = [np.flatnonzero(quarters == quarter) for quarter in self.held]
        learned = np.flatnonzero(np.isin(quarters, self.learned))
        return learned, np.concatenate([*held, corpus().dialogues("dev")])

    def corpus(self) -> Corpus:
        """The bundled corpus, of which only the learned dialogues are in train."""
        learned, _ = self.dialogues()
        splits = np.where(corpus().splits == TRAIN, TEST, corpus().splits)
        splits[learned] = TRAIN
        return dataclasses.replace(corpus(), splits=splits.astype(np.uint8))


def parts(size: int) -> list[Part]:
    """All parts of `size` quarters."""
    return [Part(learned) for learned in itertools.combinations(range(QUARTERS), size)]


WHOLE = Part(tuple(range(QUARTERS)))
