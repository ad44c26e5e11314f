"""Bidirectional GRUs over ragged sequences, several networks side by side.

PyTorch's packed GRU on the CPU launches some twenty small operations a time step, layer, direction
and network. Here all networks and both directions take a step together, and the backward pass is
written out, with one product for all the weight gradients: the same numbers, a fraction of the
launches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rigsl.data.batches import Packing
from rigsl.data.places import permuted
from rigsl.model.linear import linear

#: How torch.nn.GRU names its directions and its parameters.
_WAYS, _NAMES = ("", "_reverse"), ("weight", "bias")


class _Recurrence(torch.autograd.Function):
    """h_t = (1 - z) n + z h_(t-1); r, z = sigmoid(a + c), n = tanh(a_n + r c_n), c = h_(t-1) W^T + b
    (Cho et al., 2014, in the form of torch.nn.GRU), for G networks over the same packed sequences.

    Shapes: inputs a [G, U, 3 h] in packed order, weight [G, 3 h, h], bias [G, 3 h] -> [G, U, h]
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, sizes: list[int]) -> Tensor:
        groups, rows, width = inputs.shape[0], inputs.shape[1], weight.shape[2]
        transposed, bias = weight.transpose(1, 2), bias[:, None]
        state = inputs.new_zeros(groups, sizes[0], width)
        out = inputs.new_empty(groups, rows, width)
        previous = torch.empty_like(out)
        gates = inputs.new_empty(groups, rows, 3 * width)  # r, z, n
        candidate = torch.empty_like(out)  # c_n
        start = 0
        for size in sizes:
            at = slice(start, start + size)
            state = state[:, :size]
            previous[:, at] = state
            hidden = torch.baddbmm(bias, state, transposed)
            gate = gates[:, at]
            torch.add(inputs[:, at, : 2 * width], hidden[..., : 2 * width], out=gate[..., : 2 * width])
            gate[..., : 2 * width].sigmoid_()
            reset, update, new = gate.chunk(3, dim=2)
            candidate[:, at] = hidden[..., 2 * width :]
            torch.addcmul(inputs[:, at, 2 * width :], reset, hidden[..., 2 * width :], out=new)
            new.tanh_()
            state = torch.lerp(new, state, update)
            out[:, at] = state
            start += size
        ctx.save_for_backward(weight, previous, gates, candidate)
        ctx.sizes = sizes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        weight, previous, gates, candidate = ctx.saved_tensors
        groups, rows, width = previous.shape
        reset, update, new = gates.chunk(3, dim=2)
        # What does not depend on the gradient from later steps, for all steps at once.
        d_new = (1 - update) * (1 - new * new)  # d h / d (argument of tanh)
        d_update = (previous - new) * update * (1 - update)
        d_reset = candidate * reset * (1 - reset)
        d_inputs = torch.empty_like(gates)
        d_hidden = torch.empty_like(gates)
        carried = gradient.new_zeros(groups, ctx.sizes[0], width)
        end = rows
        for size in reversed(ctx.sizes):
            at = slice(end - size, end)
            total = carried[:, :size].add_(gradient[:, at])
            into, hidden = d_inputs[:, at], d_hidden[:, at]
            torch.mul(total, d_new[:, at], out=into[..., 2 * width :])
            torch.mul(total, d_update[:, at], out=into[..., width : 2 * width])
            torch.mul(into[..., 2 * width :], d_reset[:, at], out=into[..., :width])
            hidden[..., : 2 * width] = into[..., : 2 * width]
            torch.mul(into[..., 2 * width :], reset[:, at], out=hidden[..., 2 * width :])
            total.mul_(update[:, at])
            total.baddbmm_(hidden, weight)
            end -= size
        return d_inputs, d_hidden.transpose(1, 2) @ previous, d_hidden.sum(dim=1), None


def _stacked(networks: Sequence[nn.GRU], name: str, layer: int) -> Tensor:
    """A parameter of a layer of all networks, forward directions first. [2 * networks, ...]"""
    both = [f"{name}_l{layer}{way}" for way in _WAYS]
    return torch.stack([network.get_parameter(part) for part in both for network in networks])


def bidirectional(networks: Sequence[nn.GRU], rows: Sequence[Tensor], packing: Packing) -> list[Tensor]:
    """What each network reads from its own rows, all over the same sequences.

    Equal to running each ``nn.GRU`` (bidirectional, equal sizes) on the packed sequences.

    Shapes: each [U, d] -> each [U, 2 h]
    """
    count, sizes = len(networks), packing.sizes.tolist()
    x = permuted(torch.stack(list(rows)), packing.order, packing.place)  # [G, U, d] in packed order
    for layer in range(networks[0].num_layers):
        if layer and networks[0].dropout and networks[0].training:
            x = F.dropout(x, networks[0].dropout)
        forward, backward = (
            torch.stack(
                [
                    linear(part, *(network.get_parameter(f"{name}_ih_l{layer}{way}") for name in _NAMES))
                    for part, network in zip(x.unbind(), networks, strict=True)
                ]
            )
            for way in _WAYS
        )
        inputs = torch.cat([forward, permuted(backward, packing.backwards, packing.backwards)])
        weight, bias = _stacked(networks, "weight_hh", layer), _stacked(networks, "bias_hh", layer)
        out = _Recurrence.apply(inputs, weight, bias, sizes)  # type: ignore[no-untyped-call]
        backward = permuted(out[count:], packing.backwards, packing.backwards)
        x = torch.cat([out[:count], backward], dim=2)
    return list(permuted(x, packing.place, packing.order).unbind())
