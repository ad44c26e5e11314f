"""What predictions cost: parameters are counted, times are medians for an utterance."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from rigsl.inference.average import Average
from rigsl.inference.cost import PASSES, inference_cost
from rigsl.model.rigsl import RIGSL
from tests.helpers.corpora import toy_corpus

TINY = RIGSLConfig(modals="l", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return toy_corpus()


def test_the_time_is_the_median_of_the_passes_for_an_utterance(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that this test moves: the passes take 5, 100 and 2 seconds."""
    ticks = iter([0.0, 5.0, 10.0, 110.0, 200.0, 202.0])
    clock = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr("rigsl.inference.cost.time", clock)
    utterances = len(corpus.rows(corpus.dialogues("dev")))
    cost = inference_cost(RIGSL(TINY, corpus.schema), corpus.without_test_labels())
    assert cost.milliseconds == pytest.approx(5000 / utterances)
    assert PASSES == 3
    assert next(ticks, None) is None


def test_every_member_predicts_and_its_parameters_count(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [RIGSL(TINY.replace(hidden_dim=width), corpus.schema) for width in (8, 16)]
    calls: list[RIGSL] = []
    for member in members:
        member.register_forward_hook(lambda module, inputs, result: calls.append(module))
    single = [inference_cost(member, corpus).parameters for member in members]
    learned = [sum(np.prod(value.shape) for value in member.parameters()) for member in members]
    assert single == learned
    calls.clear()
    cost = inference_cost(Average(tuple(members)), corpus)
    assert cost.parameters == sum(single)
    assert cost.milliseconds > 0
    assert [calls.count(member) for member in members] == [PASSES + 1] * 2


def test_another_split_can_be_chosen_and_an_empty_one_is_refused(corpus: Corpus) -> None:
    model = RIGSL(TINY, corpus.schema)
    only_train = dataclasses.replace(corpus, splits=np.zeros_like(corpus.splits))
    assert inference_cost(model, only_train, split="train").milliseconds > 0
    with pytest.raises(UserError, match="the dev split is empty"):
        inference_cost(model, only_train)
