"""The linear map of every layer, by the faster of PyTorch's two matrix products.

In float32 PyTorch multiplies on the CPU with MKL, which leaves processors of other makers than its own at
half their speed; oneDNN, which it brings for other purposes, does not (benchmarks/step.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

#: Smaller weights do not pay for what oneDNN prepares for every new number of rows (half a millisecond).
#: The weight decides, not the rows: what a row gives must not depend on how many others there are.
SMALLEST = 2**17


class Linear(nn.Linear):
    """``torch.nn.Linear``: the same parameters, the same numbers up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b. Shapes: [..., in] -> [..., out]"""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear``. Shapes: x [..., in], weight [out, in], bias [out] -> [..., out]"""
    if not _by_onednn(x, weight):
        return F.linear(x, weight, bias)
    found: Tensor = _OneDNN.apply(x.reshape(-1, x.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return found.reshape(*x.shape[:-1], -1)


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can do this product, and should."""
    return bool(
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.numel() >= SMALLEST
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.mkldnn.enabled
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b by oneDNN; any strides."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


class _OneDNN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = _product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        of_weight = _product(gradient.t(), x.t()) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, gradient.sum(dim=0) if ctx.biased else None
