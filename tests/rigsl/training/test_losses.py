"""Task loss and its weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.training.losses import class_weights, link_factor, task_loss


def _predictions():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, F.log_softmax(logits, dim=1), torch.arange(12) % 4


def test_without_focus_it_is_the_weighted_nll():
    _, log_prob, label = _predictions()
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(task_loss(log_prob, label, weight, 0.0), F.nll_loss(log_prob, label, weight))


def test_focal_loss_and_its_gradient():
    """mean of -(1 - p)^gamma w log p, p detached: a row's gradient is its focus times that of the NLL."""
    logits, log_prob, label = _predictions()
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    loss = task_loss(log_prob, label, weight, 0.5)
    p = log_prob.exp()[torch.arange(12), label].detach()
    rows = (1 - p).sqrt() * weight[label] / 12
    torch.testing.assert_close(loss, -(rows * p.log()).sum())
    (gradient,) = torch.autograd.grad(loss, logits)
    onehot = F.one_hot(label, 4)
    torch.testing.assert_close(gradient, rows[:, None] * (log_prob.exp().detach() - onehot))


def test_a_certain_prediction_costs_nothing_and_stays_finite():
    log_prob = F.log_softmax(torch.tensor([[200.0, 0.0]]), dim=1)
    assert task_loss(log_prob, torch.tensor([0]), torch.ones(2), 0.5) == 0


@pytest.mark.parametrize(("kind", "exponent"), [("none", 0.0), ("sqrt", 0.5), ("inverse", 1.0)])
def test_class_weights(kind, exponent):
    labels = np.array([0, 0, 0, 1])
    expected = torch.tensor([(4 / 3) ** exponent, 4.0**exponent, 4.0**exponent])
    torch.testing.assert_close(class_weights(labels, 3, kind), expected)


def test_link_loss_fades_out():
    config = RIGSLConfig(link_loss_coff=0.1, link_loss_epoch=4)
    assert [link_factor(config, epoch) for epoch in range(6)] == pytest.approx(
        [0.1, 0.075, 0.05, 0.025, 0, 0]
    )
    assert link_factor(RIGSLConfig(link_loss_epoch=0), 0) == 0
