"""The linear map of every layer, by the faster of PyTorch's two matrix products on the CPU.

PyTorch multiplies float32 matrices with MKL, which reaches only half the speed of processors that are not
Intel's; oneDNN, which PyTorch ships for other operations, reaches all of it (benchmarks/speed/step.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

#: Weights with fewer numbers than this stay with MKL, since oneDNN's overhead would not pay.
#: The size of the weight decides, not that of the input: the result of a row must not depend on the batch.
MIN_WEIGHT_SIZE = 2**17
#: oneDNN compiles a primitive for every new shape (half a millisecond) and caches some thousand of them.
#: Batches differ in their number of utterances, so rows of zeros are added up to a multiple of this.
ROW_MULTIPLE = 32
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")  # read at its first product


class Linear(nn.Linear):
    """``torch.nn.Linear``: the same parameters, the same numbers up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b. Shapes: [..., in] -> [..., out]"""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear``. Shapes: x [..., in], weight [out, in], bias [out] -> [..., out]"""
    kind = _product_kind()
    if not _by_onednn(x, weight, kind):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    product: Tensor = _OneDNN.apply(rows, weight, bias, kind)  # type: ignore[no-untyped-call]
    return product.reshape(*x.shape[:-1], -1)


def linears(x: Tensor, weights: Sequence[Tensor], bias: Tensor) -> Tensor:
    """K linear maps of equal shape, each of its own rows: x_k W_k^T + b_k. Small ones are one product.

    Shapes: x [K, n, in], weights each [out, in], bias [K, out] -> [K, n, out]
    """
    if not small(weights[0]):
        return torch.stack([linear(*each) for each in zip(x.unbind(), weights, bias.unbind(), strict=True)])
    weight = torch.stack(list(weights))
    if any(torch.is_autocast_enabled(device) for device in ("cpu", "cuda")):
        return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
    product: Tensor = _Linears.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return product


def gated(gates: Sequence[Linear], parts: Sequence[Tensor]) -> Tensor:
    """sigmoid(W_k x_k + b_k) x_k of each part x_k with its gate. Shapes: each [n, d] -> [K, n, d]"""
    x, bias = torch.stack(list(parts)), torch.stack([gate.bias for gate in gates])
    return torch.sigmoid(linears(x, [gate.weight for gate in gates], bias)) * x


def small(weight: Tensor) -> bool:
    """Whether copying a weight costs less than a further product does; its size alone decides, for the result
    of a row must not depend on the batch."""
    return weight.numel() < MIN_WEIGHT_SIZE


def _product_kind() -> torch.dtype:
    """The dtype of products on the CPU: that of autocast, or float32."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def _by_onednn(x: Tensor, weight: Tensor, kind: torch.dtype) -> bool:
    """Whether oneDNN can compute this product in the dtype `kind`, and is the faster way."""
    return bool(
        x.device.type == "cpu"
        and (
            kind == torch.float32 or (kind == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
        )
        and weight.dtype == torch.float32
        and x.dtype in (torch.float32, kind)
        and not small(weight)
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.mkldnn.enabled
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b by oneDNN, which is slow where rows are not contiguous."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def _padded(rows: Tensor, kind: torch.dtype) -> Tensor:
    """The rows in the dtype `kind`, contiguous, with rows of zeros up to a multiple of ROW_MULTIPLE."""
    missing = -len(rows) % ROW_MULTIPLE
    rows = rows.to(kind)
    return F.pad(rows, (0, 0, 0, missing)) if missing else rows.contiguous()


class _Linears(torch.autograd.Function):
    """`linears`, with gradients in the layout of the weights; PyTorch's own are transposed and copied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        d_x = gradient @ weight if ctx.needs_input_grad[0] else None
        return d_x, gradient.transpose(1, 2) @ x, gradient.sum(dim=1)


class _OneDNN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kind: torch.dtype) -> Tensor:
        rows, weight = _padded(x, kind), weight.to(kind)
        ctx.save_for_backward(rows, weight)
        ctx.biased, ctx.kinds = bias is not None, (x.dtype, kind)
        return _product(rows, weight, None if bias is None else bias.to(kind))[: len(x)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rows, weight), (input_kind, kind) = ctx.saved_tensors, ctx.kinds
        d_x = d_weight = d_bias = None
        padded = _padded(gradient, kind)
        if ctx.needs_input_grad[0]:
            d_x = _product(padded, weight.t())[: len(gradient)].to(input_kind)
        if ctx.needs_input_grad[1]:
            # Of bfloat16 numbers, PyTorch's own product is oneDNN's, too, and spares a copy of the rows.
            product = _product(padded.t(), rows.t()) if kind == torch.float32 else padded.t() @ rows
            d_weight = product.float()
        if ctx.biased:
            d_bias = gradient.sum(dim=0).float()
        return d_x, d_weight, d_bias, None
