"""Sparsemax equals the package of that name, with operations that have a deterministic form on a GPU."""

import pytest
import torch
from sparsemax import Sparsemax

from rigsl.model.sparsemax import sparsemax


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (2, 3, 4, 50), (2, 1, 900)])
def test_values_and_gradients_are_those_of_the_package(shape, scale):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale
    logits[..., 1::3] = -1e9  # no edge
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    result, expected = sparsemax(ours), Sparsemax(dim=-1)(theirs)
    assert torch.equal(result, expected)
    torch.testing.assert_close(result.sum(dim=-1), torch.ones(shape[:-1]))
    for out in (result, expected):
        (out * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_result_does_not_depend_on_padding():
    logits = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([logits, torch.full((6, 300), -1e9)], dim=-1)
    assert torch.equal(sparsemax(padded)[:, :20], sparsemax(logits))


def test_no_cumulative_sum_of_floats_is_asked_for(monkeypatch):
    """PyTorch refuses it on a GPU under `use_deterministic_algorithms`."""
    cumsum = torch.Tensor.cumsum

    def of_integers(self, *arguments, **options):
        assert not self.is_floating_point()
        return cumsum(self, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "cumsum", of_integers)
    logits = torch.randn(4, 9, requires_grad=True)
    sparsemax(logits).square().sum().backward()


def test_what_is_not_a_number_stays_so():
    assert sparsemax(torch.tensor([[float("nan"), 1.0, 2.0]])).isnan().all()
