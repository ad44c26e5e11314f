"""Gradients that are written out, against differences of values in float64."""

import numpy as np
import pytest
import torch

from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.model.dense_graph import dense_graph
from rigsl.model.sparsify import hard_concrete
from tests.helpers.corpora import toy_corpus

DIALOGUES = np.array([4, 0, 7])


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(5)
    yield
    torch.set_default_dtype(torch.float32)


def graph(modals):
    corpus = toy_corpus(widths={"l": 8, "a": 4, "d": 5}, longest=4)
    config = RIGSLConfig(modals=modals, hidden_dim=4, windowp=1, windowf=2)
    return dense_graph(BatchSource(corpus, config.modals).batch(DIALOGUES), config)


def numbers(*shape):
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("modals", ["l", "ld", "lad"])
@pytest.mark.parametrize("columns", [6, 8])
def test_sums_over_the_ends_of_edges(modals, columns):
    edges = graph(modals)
    rows = numbers(edges.modalities * len(edges.batch.rows), columns)
    assert torch.autograd.gradcheck(edges.sums, rows)


@pytest.mark.parametrize("modals", ["l", "ld", "lad"])
def test_messages(modals):
    edges = graph(modals)
    x = numbers(edges.modalities * len(edges.batch.rows), 3)
    values = (torch.randn(len(edges.mask)) * edges.mask).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, values: edges.propagate(x, values * edges.mask), (x, values))


@pytest.mark.parametrize("noisy", [False, True])
def test_hard_concrete_gates(noisy):
    logit = numbers(40)
    mask = (torch.rand(40) < 0.8).double()
    uniform = torch.rand(40) if noisy else None
    shape = {"temperature": 0.7, "gamma": -0.4, "zeta": 1.3}

    def gates(logit):
        return hard_concrete(logit, mask, uniform=uniform, **shape)

    gate, probability = gates(logit)
    assert set(gate.sign().tolist()) == {0.0, 1.0}
    assert gate.max() == 1
    assert not gate[mask == 0].any()
    assert not probability[mask == 0].any()
    assert torch.autograd.gradcheck(gates, logit)
