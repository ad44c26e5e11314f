"""Products of a sparse matrix whose entries are the edges of a graph, without a vector for every edge.

PyTorch's sparse tensors in CSR form multiply row by row and in a fixed order; of their values, only the two
products below have gradients here. Always in full precision, because neither has a form in bfloat16.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rigsl.model.precision import full_precision

warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")


@dataclass(frozen=True)
class Pattern:
    """Where a square matrix of N rows has entries: E of them, in the order of their rows.

    start: [N + 1] first entry of each row, in the end E; column, row: [E]; transposed: [E] the entries in the
    order of their columns; column_start: [N + 1] first entry of each column in that order.
    """

    start: Tensor
    column: Tensor
    row: Tensor
    transposed: Tensor
    column_start: Tensor

    def matrix(self, values: Tensor) -> Tensor:
        """The sparse matrix with these entries. [E] -> [N, N]"""
        return _csr(self.start, self.column, values)

    def transposed_matrix(self, values: Tensor) -> Tensor:
        """Its transpose. [E] -> [N, N]"""
        return _csr(self.column_start, self.row[self.transposed], values[self.transposed])


def _csr(start: Tensor, column: Tensor, values: Tensor) -> Tensor:
    size = (len(start) - 1, len(start) - 1)
    return torch.sparse_csr_tensor(start, column, values, size, check_invariants=False)


def weighted_sums(pattern: Pattern, values: Tensor, x: Tensor) -> Tensor:
    """The matrix with these entries times x. Shapes: values [E], x [N, d] -> [N, d]"""
    kind = x.dtype
    out: Tensor = _WeightedSums.apply(values, full_precision(x), pattern)  # type: ignore[no-untyped-call]
    return out.to(kind)


def inner_products(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """left_i . right_j of every entry (i, j). Shapes: [N, d], [N, d] -> [E]"""
    products: Tensor = _InnerProducts.apply(  # type: ignore[no-untyped-call]
        full_precision(left), full_precision(right), pattern
    )
    return products


def _product(matrix: Tensor, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return matrix @ x


def _sampled(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    zeros = pattern.matrix(left.new_zeros(len(pattern.column)))
    with torch.autocast(left.device.type, enabled=False):
        products: Tensor = torch.sparse.sampled_addmm(zeros, left, right.t(), beta=0.0).values()
        return products


class _WeightedSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(values, x)
        return _product(pattern.matrix(values), x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (values, x), gradient = ctx.saved_tensors, gradient.contiguous()
        d_values = d_x = None
        if ctx.needs_input_grad[0]:
            d_values = _sampled(ctx.pattern, gradient, x)
        if ctx.needs_input_grad[1]:
            d_x = _product(ctx.pattern.transposed_matrix(values), gradient)
        return d_values, d_x, None


class _InnerProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, pattern: Pattern) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(left, right)
        return _sampled(pattern, left, right)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors
        d_left = _product(ctx.pattern.matrix(gradient), right)
        d_right = _product(ctx.pattern.transposed_matrix(gradient), left)
        return d_left, d_right, None
