"""Rows to padded arrays and back, and permutations of rows, each as one gather forwards and backwards.

PyTorch's own gradient of a gather is a scatter-add; these maps are one-to-one, so that a gather does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class PaddedIndex:
    """A one-to-one map of n rows to the p slots of a padded array; p - n slots are padding.

    row: [p] the row in each slot, 0 where the slot is padding; slot: [n] the slot of each row;
    padding: [p - n] the slots without a row.
    """

    row: Tensor
    slot: Tensor
    padding: Tensor

    def pad(self, rows: Tensor) -> Tensor:
        """[n, ...] -> [p, ...], zero in the padding."""
        padded: Tensor = _Pad.apply(rows, self)  # type: ignore[no-untyped-call]
        return padded

    def unpad(self, padded: Tensor) -> Tensor:
        """[p, ...] -> [n, ...], the inverse of `pad`."""
        rows: Tensor = _Unpad.apply(padded, self)  # type: ignore[no-untyped-call]
        return rows

    def slots(self, rows: Tensor) -> Tensor:
        """`pad` inside of operators that have a written-out gradient."""
        padded = rows.index_select(0, self.row)
        return padded.index_fill_(0, self.padding, 0) if len(self.padding) else padded

    def from_slots(self, padded: Tensor) -> Tensor:
        """`unpad` inside of such operators."""
        return padded.index_select(0, self.slot)


class _Pad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: PaddedIndex) -> Tensor:
        ctx.index = index
        return index.slots(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.index.from_slots(gradient), None


class _Unpad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, index: PaddedIndex) -> Tensor:
        ctx.index = index
        return index.from_slots(padded)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.index.slots(gradient), None


def permuted(rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """rows[:, order], where `inverse` is the inverse permutation. Shapes: [G, n, ...], [n], [n]"""
    result: Tensor = _Permute.apply(rows, order, inverse)  # type: ignore[no-untyped-call]
    return result


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse = inverse
        return rows.index_select(1, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(1, ctx.inverse), None, None
