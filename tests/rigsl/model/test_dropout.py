"""Dropout on the CPU, which draws its own random numbers."""

import pytest
import torch

from rigsl.model.dropout import dropout


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("shape", [(401, 503), (3, 257, 251)], ids=str)
def test_elements_are_zero_with_their_probability_and_keep_their_mean(p, shape):
    torch.manual_seed(0)
    x = torch.full(shape, 2.0)
    result = dropout(x, p, training=True)
    assert sorted(result.unique().tolist()) == pytest.approx([0.0, 2 / (1 - p)], rel=2e-3)
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert float((result == 0).double().mean()) == pytest.approx(p, abs=5 * deviation)
    for neighbour in (1, 2, 3, 4):  # the four elements of a drawn word are independent
        zero = (result.flatten() == 0).double()
        both = float((zero[neighbour:] * zero[:-neighbour]).mean())
        assert both == pytest.approx(p * p, abs=5 * (p * p * (1 - p * p) / x.numel()) ** 0.5)


def test_a_seed_repeats_it_and_the_next_call_differs():
    x = torch.ones(5, 7)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5, training=True), dropout(x, 0.5, training=True)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5, training=True), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_go_through_what_is_kept(dtype):
    x = torch.ones(6, 5, dtype=dtype, requires_grad=True)
    result = dropout(x, 0.4, training=True)
    result.sum().backward()
    assert result.dtype == dtype
    assert torch.equal(x.grad, result.detach())


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.7, False)])
def test_without_it_nothing_changes_and_nothing_is_drawn(p, training):
    x, state = torch.randn(4, 3), torch.get_rng_state()
    assert torch.equal(dropout(x, p, training=training), x)
    assert torch.equal(torch.get_rng_state(), state)
