"""Sparsemax (Martins and Astudillo, ICML 2016), with operations that have a deterministic form on a GPU.

The package `sparsemax` sums sorted numbers with `cumsum`, which has no such form for floats: PyTorch refuses
it in a `deterministic` training. Here the sums are those of integers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Fractions are counted in units of 2^-32: finer than float32, and a row of 2^30 of them does not overflow.
UNIT = 2.0**32


def sparsemax(logits: Tensor) -> Tensor:
    """The projection of each row on the probability simplex. Shapes: [..., n] -> [..., n]"""
    projected: Tensor = _Sparsemax.apply(logits)  # type: ignore[no-untyped-call]
    return projected


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        logits = logits - logits.amax(dim=-1, keepdim=True)
        ordered = logits.sort(dim=-1, descending=True).values
        rank = torch.arange(1, logits.shape[-1] + 1, device=logits.device)
        support = _in_support(ordered, rank)
        size = (support * rank).amax(dim=-1, keepdim=True)
        threshold = ((support * ordered).sum(dim=-1, keepdim=True) - 1) / size
        result: Tensor = (logits - threshold).clamp_min_(0)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        support = result != 0
        mean = (gradient * support).sum(dim=-1, keepdim=True) / support.sum(dim=-1, keepdim=True)
        projected: Tensor = (gradient - mean) * support
        return projected


def _in_support(ordered: Tensor, rank: Tensor) -> Tensor:
    """Whether 1 + k z_k > z_1 + ... + z_k, for z sorted in descending order with z_1 = 0.

    No number below -1 is in the support, so that they may all count as -1.
    """
    units = ordered.clamp_min(-1).double().mul_(UNIT).round_().long()
    return rank * units + int(UNIT) > units.cumsum(dim=-1)
