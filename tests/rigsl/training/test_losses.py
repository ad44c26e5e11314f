"""Task loss and its weights, and the loss with a teacher."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.training.losses import class_weights, link_factor, task_loss, taught_loss


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


def _taught(log_prob, target, weight, temperature):
    """Row by row: (1 - w) 0.7 + w T^2 mean of the cross entropies at temperature T; 0.7 is the task loss."""
    costs = []
    for ours, theirs in zip(log_prob.tolist(), target.tolist(), strict=True):
        if np.isnan(theirs[0]):
            continue
        p, q = (np.exp(np.array(row) / temperature) for row in (ours, theirs))
        costs.append(-np.sum(q / q.sum() * np.log(p / p.sum())))
    if not costs:
        return 0.7
    return (1 - weight) * 0.7 + weight * temperature**2 * np.mean(costs)


def _targets(*missing):
    target = F.log_softmax(torch.randn(12, 4, generator=torch.Generator().manual_seed(1)).double(), dim=1)
    target[1] = torch.tensor([-torch.inf, 0, -torch.inf, -torch.inf])  # certain
    target[list(missing)] = torch.nan
    return target


@pytest.mark.parametrize("missing", [(), (0, 3, 4, 11), tuple(range(11)), tuple(range(12))], ids=len)
@pytest.mark.parametrize(("weight", "temperature"), [(0.6, 1.0), (0.25, 3.0), (1.0, 0.5)])
def test_loss_with_a_teacher_and_its_gradient(weight, temperature, missing):
    logits, log_prob, _ = _predictions()
    target = _targets(*missing)
    task = torch.tensor(0.7, dtype=torch.float64)
    loss = taught_loss(task, log_prob, target, weight, temperature)
    assert loss.item() == pytest.approx(_taught(log_prob, target, weight, temperature), rel=1e-12)

    def cost(values):
        return taught_loss(task, F.log_softmax(values, dim=1), target, weight, temperature)

    assert torch.autograd.gradcheck(cost, logits)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[list(missing)] == 0).all(), "rows without a target"
    taught = [row for row in range(12) if row not in missing]
    scaled = (log_prob / temperature).softmax(1) - (target / temperature).softmax(1)
    expected = weight * temperature * scaled[taught] / max(len(taught), 1)
    torch.testing.assert_close(gradient[taught], expected.detach())


def test_the_task_loss_keeps_its_gradient_beside_a_teacher():
    for missing, factor in (((), 0.4), (tuple(range(12)), 1.0)):
        task = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        taught_loss(task, _predictions()[1], _targets(*missing), 0.6, 2.0).backward()
        assert float(task.grad) == pytest.approx(factor)


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
