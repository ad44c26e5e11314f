"""What a prediction costs: the parameters of a model or an average, and its time for an utterance."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

from rigsl.data.corpus import Corpus
from rigsl.inference.average import Average, log_probabilities, members_of
from rigsl.model.rigsl import RIGSL

#: Passes over the split whose median counts, after one that does not.
PASSES = 3


class InferenceCost(NamedTuple):
    """Of an average, the sum over its members."""

    parameters: int  #: learned numbers, without the fixed random projections
    milliseconds: float  #: for an utterance, in batches of dialogues as `predict` makes them


def inference_cost(
    model: RIGSL | Average, corpus: Corpus, *, split: str = "dev", device: str = "cpu"
) -> InferenceCost:
    """The cost of predictions on a split, with the CPU threads that the caller set; no label is read.

    Raises:
        UserError: a model and the corpus do not fit together, or the split is empty.
    """
    parameters = sum(parameter.numel() for member in members_of(model) for parameter in member.parameters())
    utterances = len(log_probabilities(model, corpus, device, split=split))
    seconds = []
    for _ in range(PASSES):
        start = time.perf_counter()
        log_probabilities(model, corpus, device, split=split)
        seconds.append(time.perf_counter() - start)
    return InferenceCost(parameters, 1000 * statistics.median(seconds) / utterances)
