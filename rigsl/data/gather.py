"""From rows to padded places and back, and to another order, each by one gather, forwards and backwards.

PyTorch's own gradient of a gather adds up, row by row; here every row goes to one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Places:
    """A one-to-one map of n rows into p places.

    row: [p] the row at each place, 0 at one that is empty; place: [n] the place of each row; empty: [p - n].
    """

    row: Tensor
    place: Tensor
    empty: Tensor

    def spread(self, rows: Tensor) -> Tensor:
        """[n, ...] -> [p, ...], zero where a place is empty."""
        found: Tensor = _Spread.apply(rows, self)  # type: ignore[no-untyped-call]
        return found

    def collect(self, padded: Tensor) -> Tensor:
        """[p, ...] -> [n, ...], the inverse of `spread`."""
        found: Tensor = _Collect.apply(padded, self)  # type: ignore[no-untyped-call]
        return found


def _spread(rows: Tensor, places: Places) -> Tensor:
    return rows.index_select(0, places.row).index_fill_(0, places.empty, 0)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Places) -> Tensor:
        ctx.places = places
        return _spread(rows, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.places.place), None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, places: Places) -> Tensor:
        ctx.places = places
        return padded.index_select(0, places.place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _spread(gradient, ctx.places), None


def permuted(rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """rows[:, order], where `inverse` is the inverse permutation. Shapes: [G, n, ...], [n], [n]"""
    found: Tensor = _Permute.apply(rows, order, inverse)  # type: ignore[no-untyped-call]
    return found


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse = inverse
        return rows.index_select(1, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(1, ctx.inverse), None, None
