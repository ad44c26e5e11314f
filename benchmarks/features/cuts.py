"""Pseudo-tests: the training dialogues, cut several times into a smaller train (with folds), dev and test."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from rigsl.data.corpus import SPLITS
from rigsl.data.folds import NO_FOLD, stratified_parts
from rigsl.data.open.meld import Transcript

TRAIN, DEV, TEST = range(len(SPLITS))


@dataclass(frozen=True, eq=False)
class Cut:
    """One pseudo-test; all arrays have one entry for each utterance of train."""

    split: np.ndarray  #: TRAIN, DEV or TEST
    fold: np.ndarray  #: of a TRAIN utterance; NO_FOLD for the others


def training_part(transcript: Transcript) -> Transcript:
    """The training dialogues alone."""
    chosen = np.flatnonzero(transcript.splits == TRAIN)
    lengths = np.diff(transcript.offsets)
    rows = np.flatnonzero(np.repeat(transcript.splits == TRAIN, lengths))
    return dataclasses.replace(
        transcript,
        utterances=tuple(transcript.utterances[row] for row in rows),
        labels=transcript.labels[rows],
        speakers=transcript.speakers[rows],
        start=transcript.start[rows],
        end=transcript.end[rows],
        offsets=np.concatenate([[0], np.cumsum(lengths[chosen])]),
        splits=transcript.splits[chosen],
        dialogue_ids=tuple(transcript.dialogue_ids[index] for index in chosen),
    )


def make_cuts(transcript: Transcript, cuts: int, folds: int, seed: int) -> list[Cut]:
    """Disjoint pseudo-tests, stratified by emotion; a ninth of what remains is dev.

    Args:
        transcript: training dialogues.
        cuts: their number.
        folds: of the train of each.
        seed: of all draws.
    """
    dialogue = np.repeat(np.arange(len(transcript.splits)), np.diff(transcript.offsets))
    labels = transcript.labels
    result = []
    for number, rest in enumerate(stratified_parts(labels, dialogue, cuts, seed)):
        split = np.full(len(labels), TRAIN)
        split[rest] = TEST
        rows = np.flatnonzero(split == TRAIN)
        dev = next(iter(stratified_parts(labels[rows], dialogue[rows], 9, seed + 1 + number)))
        split[rows[dev]] = DEV
        rows = np.flatnonzero(split == TRAIN)
        fold = np.full(len(labels), NO_FOLD)
        for index, held in enumerate(
            stratified_parts(labels[rows], dialogue[rows], folds, seed + 1 + number)
        ):
            fold[rows[held]] = index
        result.append(Cut(split, fold))
    return result
