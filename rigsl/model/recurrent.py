"""Bidirectional GRUs over ragged sequences, several networks side by side.

PyTorch's packed GRU on the CPU launches some twenty small operations for each time step, layer, direction
and network. Here all networks and both directions take a step together, and the backward pass is
written out, with one product for all weight gradients: the same numbers with a fraction of the launches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rigsl.data.batches import Packing
from rigsl.data.gather import permuted
from rigsl.model.linear import linear

#: Parts of the parameter names of torch.nn.GRU.
_DIRECTIONS, _NAMES = ("", "_reverse"), ("weight", "bias")


class _Recurrence(torch.autograd.Function):
    """h_t = (1 - z) n + z h_(t-1); r, z = sigmoid(a + c), n = tanh(a_n + r c_n), c = h_(t-1) W^T + b
    (Cho et al., 2014, in the form of torch.nn.GRU), for G networks over the same packed sequences.

    Shapes: inputs a [G, U, 3 h] in packed order, weight [G, 3 h, h], bias [G, 3 h] -> [G, U, h]
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, sizes: list[int]) -> Tensor:
        width = weight.shape[2]
        transposed, bias = weight.transpose(1, 2), bias[:, None]
        hidden, gates = torch.empty_like(inputs), torch.empty_like(inputs)  # c; r, z, n
        out = inputs.new_empty(*inputs.shape[:2], width)
        state = inputs.new_zeros(inputs.shape[0], sizes[0], width)
        # All views are made beforehand: a slice in the loop costs as much as a small product.
        views = zip(
            *(_steps(part, sizes) for part in (hidden, *_split(hidden, 2 * width))),
            *(_steps(part, sizes) for part in _split(inputs, 2 * width)),
            *(_steps(part, sizes) for part in (gates[..., : 2 * width], *gates.chunk(3, dim=2), out)),
            strict=True,
        )
        for size, (c, c_rz, c_n, a_rz, a_n, rz, r, z, n, h) in zip(sizes, views, strict=True):
            state = state if state.shape[1] == size else state[:, :size]
            torch.baddbmm(bias, state, transposed, out=c)
            torch.add(a_rz, c_rz, out=rz).sigmoid_()
            torch.addcmul(a_n, r, c_n, out=n).tanh_()
            state = torch.lerp(n, state, z, out=h)
        ctx.save_for_backward(weight, out, gates, hidden[..., 2 * width :])
        ctx.sizes = sizes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        weight, out, gates, candidate = ctx.saved_tensors
        sizes, width = ctx.sizes, out.shape[2]
        reset, update, new = gates.chunk(3, dim=2)
        previous = _previous(out, sizes)
        # The factors that do not depend on the gradient of later steps, for all steps at once.
        by_new = (1 - update) * (1 - new * new)  # d h / d (argument of tanh)
        by_update = (previous - new) * update * (1 - update)
        by_reset = candidate * reset * (1 - reset)
        d_new, d_hidden = torch.empty_like(out), torch.empty_like(gates)  # d a_n; d c
        views = zip(
            *(_steps(part, sizes) for part in (gradient, by_new, by_update, by_reset, reset, update)),
            *(_steps(part, sizes) for part in (d_new, d_hidden, *d_hidden.chunk(3, dim=2))),
            strict=True,
        )
        d_state = gradient.new_zeros(out.shape[0], sizes[0], width)  # d h, from the later steps
        for size, step in zip(reversed(sizes), reversed(list(views)), strict=True):
            above, to_n, to_z, to_r, r, z, d_n, d_c, d_c_r, d_c_z, d_c_n = step
            total = d_state if d_state.shape[1] == size else d_state[:, :size]
            total.add_(above)
            torch.mul(total, to_n, out=d_n)
            torch.mul(total, to_z, out=d_c_z)
            torch.mul(d_n, to_r, out=d_c_r)
            torch.mul(d_n, r, out=d_c_n)
            total.mul_(z).baddbmm_(d_c, weight)
        d_inputs = torch.cat([d_hidden[..., : 2 * width], d_new], dim=2)
        return d_inputs, d_hidden.transpose(1, 2) @ previous, d_hidden.sum(dim=1), None


def _steps(x: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """The rows of each time step of packed sequences. Shapes: [G, U, ...] -> each [G, size, ...]"""
    return torch.split(x, sizes, dim=1)


def _split(x: Tensor, at: int) -> tuple[Tensor, Tensor]:
    """The last dimension up to `at`, and from there on."""
    return x[..., :at], x[..., at:]


def _previous(out: Tensor, sizes: list[int]) -> Tensor:
    """The state before each step, zero before the first. Shapes: [G, U, h] -> [G, U, h]"""
    before = [out.new_zeros(out.shape[0], sizes[0], out.shape[2])]
    steps = _steps(out, sizes)
    return torch.cat(
        [*before, *(step[:, :size] for step, size in zip(steps, sizes[1:], strict=False))], dim=1
    )


def _stacked(networks: Sequence[nn.GRU], name: str, layer: int) -> Tensor:
    """A parameter of a layer of all networks, forward directions first. [2 * networks, ...]"""
    full_names = [f"{name}_l{layer}{direction}" for direction in _DIRECTIONS]
    return torch.stack([network.get_parameter(each) for each in full_names for network in networks])


def bidirectional(networks: Sequence[nn.GRU], rows: Sequence[Tensor], packing: Packing) -> list[Tensor]:
    """The states of each network on its own rows; the sequences are the same for all networks.

    Equal to running each ``nn.GRU`` (bidirectional, of equal size) on the packed sequences.

    Shapes: each [U, d] -> each [U, 2 h]
    """
    count, sizes = len(networks), packing.sizes.tolist()
    x = permuted(torch.stack(list(rows)), packing.order, packing.inverse)  # [G, U, d] in packed order
    for layer in range(networks[0].num_layers):
        if layer and networks[0].dropout and networks[0].training:
            x = F.dropout(x, networks[0].dropout)
        forward, backward = (
            torch.stack(
                [
                    linear(
                        part, *(network.get_parameter(f"{name}_ih_l{layer}{direction}") for name in _NAMES)
                    )
                    for part, network in zip(x.unbind(), networks, strict=True)
                ]
            )
            for direction in _DIRECTIONS
        )
        inputs = torch.cat([forward, permuted(backward, packing.reverse, packing.reverse)])
        weight, bias = _stacked(networks, "weight_hh", layer), _stacked(networks, "bias_hh", layer)
        out = _Recurrence.apply(inputs, weight, bias, sizes)  # type: ignore[no-untyped-call]
        backward = permuted(out[count:], packing.reverse, packing.reverse)
        x = torch.cat([out[:count], backward], dim=2)
    return list(permuted(x, packing.inverse, packing.order).unbind())
