"""Linear maps by oneDNN against PyTorch's own, and gathers against indexing."""

import pytest
import torch
from torch.nn import functional as F

from rigsl.data.batches import BatchSource
from rigsl.data.gather import permuted
from rigsl.model.linear import MIN_WEIGHT_SIZE, linear
from tests.helpers.corpora import toy_corpus

WIDE = 512
assert WIDE * WIDE >= MIN_WEIGHT_SIZE


def gradients(product, x, weight, bias, above):
    inputs = [part if part is None else part.detach().clone().requires_grad_() for part in (x, weight, bias)]
    result = product(*inputs)
    result.backward(above.to(result.dtype))
    return [result.detach(), *(part.grad for part in inputs if part is not None)]


@pytest.mark.parametrize("rows", [1, 31, 32, 77])
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_the_product_in_float64_up_to_rounding(rows: int, biased: bool) -> None:
    generator = torch.Generator().manual_seed(rows)
    x, above = (torch.randn(rows, WIDE, generator=generator) for _ in range(2))
    weight = torch.randn(WIDE, WIDE, generator=generator) / WIDE**0.5
    bias = torch.randn(WIDE, generator=generator) if biased else None
    wide = [part if part is None else part.double() for part in (x, weight, bias)]
    expected = gradients(F.linear, *wide, above.double())
    for result, true in zip(gradients(linear, x, weight, bias, above), expected, strict=True):
        assert result.dtype == torch.float32
        assert torch.allclose(result.double(), true, rtol=0, atol=1e-5 * true.abs().max())


def test_rows_that_are_not_contiguous_and_more_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(5, 7, 3, WIDE, generator=generator)
    weight = torch.randn(WIDE, WIDE, generator=generator) / WIDE**0.5
    assert torch.allclose(linear(views[:, :, 1], weight), F.linear(views[:, :, 1], weight), atol=1e-4)
    assert linear(views[:0, :, 1], weight).shape == (0, 7, WIDE)


def test_a_row_does_not_depend_on_how_many_there_are() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(90, WIDE, generator=generator), torch.randn(WIDE, WIDE, generator=generator)
    alone = torch.cat([linear(row[None], weight) for row in x])
    assert torch.allclose(linear(x, weight), alone, rtol=1e-5, atol=1e-3)


def test_under_autocast_it_is_pytorch_s_bfloat16_product() -> None:
    generator = torch.Generator().manual_seed(0)
    x, above = (torch.randn(40, WIDE, generator=generator) for _ in range(2))
    weight, bias = torch.randn(WIDE, WIDE, generator=generator), torch.randn(WIDE, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = gradients(linear, x, weight, bias, above)
        expected = gradients(F.linear, x, weight, bias, above)
    assert results[0].dtype == torch.bfloat16
    for result, true in zip(results, expected, strict=True):
        assert result.dtype == true.dtype
        assert torch.allclose(result.float(), true.float(), rtol=0.02, atol=0.02 * float(true.abs().max()))


def test_rows_are_padded_and_unpadded_with_their_gradients() -> None:
    corpus = toy_corpus()
    batch = BatchSource(corpus, "ld").batch(corpus.dialogues("train")[:3])
    count, groups, heads = sum(batch.lengths), 2, 3
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(groups * count, heads, 4, generator=generator, dtype=torch.float64)
    padded = batch.pad_heads(rows, groups)
    assert padded.shape == (3, heads, groups * batch.longest, 4)
    start = 0
    for dialogue, length in enumerate(batch.lengths):
        for group in range(groups):
            own = rows[group * count + start : group * count + start + length]  # [length, heads, 4]
            block = padded[dialogue, :, group * batch.longest :][:, : batch.longest]
            assert torch.equal(block[:, :length], own.transpose(0, 1))
            assert not block[:, length:].any()
        start += length
    assert torch.equal(batch.unpad_heads(padded, groups), rows)
    flat = rows[:, 0]
    assert torch.equal(batch.unpad(batch.pad(flat, groups)), flat)
    rows.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: batch.pad_heads(x, groups), rows)
    block = padded.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: batch.unpad_heads(x, groups), block)


def test_a_permutation_and_its_gradient() -> None:
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(permuted(rows, order, order.argsort()), rows[:, order])
    assert torch.autograd.gradcheck(lambda x: permuted(x, order, order.argsort()), rows)
