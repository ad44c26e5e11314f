"""The linear map of every layer, by the faster of PyTorch's two matrix products.

In float32 PyTorch multiplies on the CPU with MKL, which leaves processors of other makers than its own at
half their speed; oneDNN, which it brings for other purposes, does not (benchmarks/speed/step.py).
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

#: Smaller weights do not pay for the detour.
#: The weight decides, not the rows: what a row gives must not depend on how many others there are.
SMALLEST = 2**17
#: oneDNN prepares itself for every new shape (half a millisecond) and remembers some thousand. Batches differ
#: in their utterances, so rows are filled up to a multiple of this with zeros.
ROUND = 32
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")  # read at its first product


class Linear(nn.Linear):
    """``torch.nn.Linear``: the same parameters, the same numbers up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b. Shapes: [..., in] -> [..., out]"""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear``. Shapes: x [..., in], weight [out, in], bias [out] -> [..., out]"""
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    if not _by_onednn(x, weight, kind):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    found: Tensor = _OneDNN.apply(rows, weight, bias, kind)  # type: ignore[no-untyped-call]
    return found.reshape(*x.shape[:-1], -1)


def _by_onednn(x: Tensor, weight: Tensor, kind: torch.dtype) -> bool:
    """Whether oneDNN can do this product in the arithmetic `kind`, and should."""
    return bool(
        x.device.type == "cpu"
        and (
            kind == torch.float32 or (kind == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
        )
        and weight.dtype == torch.float32
        and x.dtype in (torch.float32, kind)
        and weight.numel() >= SMALLEST
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.mkldnn.enabled
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b by oneDNN. Where rows have gaps between them it has no speed at all."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def _rounded(rows: Tensor, kind: torch.dtype) -> Tensor:
    """The rows as `kind`, without gaps, and rows of zeros up to a multiple of ROUND."""
    more = -len(rows) % ROUND
    rows = rows.to(kind)
    return F.pad(rows, (0, 0, 0, more)) if more else rows.contiguous()


class _OneDNN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kind: torch.dtype) -> Tensor:
        rows, weight = _rounded(x, kind), weight.to(kind)
        ctx.save_for_backward(rows, weight)
        ctx.biased, ctx.kinds = bias is not None, (x.dtype, kind)
        return _product(rows, weight, None if bias is None else bias.to(kind))[: len(x)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rows, weight), (of_rows, kind) = ctx.saved_tensors, ctx.kinds
        of_x = of_weight = of_bias = None
        above = _rounded(gradient, kind)
        if ctx.needs_input_grad[0]:
            of_x = _product(above, weight.t())[: len(gradient)].to(of_rows)
        if ctx.needs_input_grad[1]:
            of_weight = _product(above.t(), rows.t()).float()
        if ctx.biased:
            of_bias = gradient.sum(dim=0).float()
        return of_x, of_weight, of_bias, None
