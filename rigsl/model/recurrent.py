"""Bidirectional GRUs over ragged sequences, several networks side by side.

PyTorch's packed GRU on the CPU launches some twenty small operations for each time step, layer, direction
and network. Here all networks and both directions take a step together, and the backward pass is
written out, with one product for all weight gradients: the same numbers with a fraction of the launches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rigsl.data.batches import Indices, Packing
from rigsl.data.gather import PaddedIndex
from rigsl.model.dropout import dropout
from rigsl.model.linear import linears

#: Ends of the parameter names of torch.nn.GRU.
_DIRECTIONS = ("", "_reverse")


@dataclass(frozen=True)
class _Layout:
    """The slots (time step, group, sequence) in which G groups, a network in a direction each, take S steps.

    All groups have as many sequences at a step as the one with the most of them; slots that a group has no
    utterance for compute, and nothing reads them. A step's slots are one piece of memory, which the batched
    product needs.

    sizes: sequences at each step; index: between the rows (network, utterance, direction) and the slots;
    group: [slots] the group (network, direction) of each slot; before: [rows] the slot of the same sequence
    one step earlier (arbitrary at the first step); first: the rows at a first step.
    """

    groups: int
    sizes: list[int]
    index: PaddedIndex
    group: Tensor
    before: Tensor
    first: Tensor

    def steps(self, x: Tensor) -> list[Tensor]:
        """The slots of each time step. Shapes: [slots, d] -> each [G, size, d]"""
        parts = torch.split(x, [self.groups * size for size in self.sizes])
        return [part.view(self.groups, size, -1) for part, size in zip(parts, self.sizes, strict=True)]


def _layout(packings: Sequence[Packing]) -> _Layout:
    """The layout of a network for each packing, all of the same utterances on the CPU."""
    count, groups = len(packings), 2 * len(packings)
    sizes = np.zeros(max(len(packing.sizes) for packing in packings), dtype=np.int64)
    for packing in packings:
        np.maximum(sizes[: len(packing.sizes)], packing.sizes.numpy(), out=sizes[: len(packing.sizes)])
    first = np.cumsum(sizes) - sizes  # of each step, in sequences
    places = np.empty((count, len(packings[0].order), 2), dtype=np.int64)
    for network, packing in enumerate(packings):
        step, rank, last = _places(packing)
        for direction, at in enumerate((step, last - step)):
            places[network, :, direction] = groups * first[at] + (2 * network + direction) * sizes[at] + rank
    slot = places.ravel()
    row = np.full(groups * sizes.sum(), -1)
    row[slot] = np.arange(len(slot))
    blocks = np.repeat(sizes, groups)  # (step, group)
    group = np.repeat(np.tile(np.arange(groups), len(sizes)), blocks)
    # A block of the step before is as long as this one or longer, and there are as many blocks in between.
    start = np.cumsum(blocks) - blocks
    back = np.maximum(start - np.concatenate([start[:groups], start[:-groups]]), 0)
    before = slot - np.repeat(back, blocks)[slot]
    begins = np.flatnonzero(slot < groups * sizes[0])
    arrays = (np.maximum(row, 0), slot, np.flatnonzero(row < 0), group, before, begins)
    tensors = [torch.from_numpy(array) for array in arrays]
    return _Layout(groups, sizes.tolist(), PaddedIndex(*tensors[:3]), *tensors[3:])


def _places(packing: Packing) -> tuple[Indices, Indices, Indices]:
    """The step and the rank of each utterance's sequence in the packing, and its sequence's last step."""
    sizes, step, sequence = (part.numpy() for part in (packing.sizes, packing.position, packing.sequence))
    rank = packing.inverse.numpy() - (np.cumsum(sizes) - sizes)[step]
    return step, rank, np.bincount(sequence)[sequence] - 1


class _Recurrence(torch.autograd.Function):
    """h_t = (1 - z) n + z h_(t-1); r, z = sigmoid(a + c), n = tanh(a_n + r (c_n + b)), c = h_(t-1) W^T
    (Cho et al., 2014, in the form of torch.nn.GRU), for the G groups of a layout.

    Shapes: inputs a [rows, 3 h], weight W [G, 3 h, h], bias b [G, h] -> [rows, h]
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, layout: _Layout) -> Tensor:
        width = weight.shape[2]
        transposed = weight.transpose(1, 2)
        gates = inputs.index_select(0, layout.index.row)  # becomes r, z, c_n + b
        new, out = gates[:, 2 * width :].clone(), inputs.new_empty(len(gates), width)
        gates[:, 2 * width :] = bias.index_select(0, layout.group)
        state = inputs.new_zeros(layout.groups, layout.sizes[0], width)
        views = zip(layout.sizes, *(layout.steps(part) for part in (gates, new, out)), strict=True)
        for size, c, n, h in views:
            state = state if state.shape[1] == size else state[:, :size]
            c.baddbmm_(state, transposed)
            r, z, c_n = c.chunk(3, dim=2)
            c[..., : 2 * width].sigmoid_()
            n.addcmul_(r, c_n).tanh_()
            state = torch.lerp(n, state, z, out=h)
        ctx.save_for_backward(weight, gates, new, out)
        ctx.layout = layout
        return layout.index.from_slots(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        weight, gates, new, out = ctx.saved_tensors
        layout, width = ctx.layout, out.shape[1]
        gradient = layout.index.slots(gradient)
        reset, update, candidate = gates.chunk(3, dim=1)
        # d h / d (c_n, r, z, a_n), before the sigmoids: the factors that do not depend on the gradient of
        # later steps, for all steps at once.
        d = torch.empty(len(out), 4, width, dtype=out.dtype)
        by_c, by_r, by_z, by_n = d.unbind(1)
        kept = 1 - update
        torch.ops.aten.tanh_backward.grad_input(kept, new, grad_input=by_n)
        torch.mul(by_n, reset, out=by_c)
        torch.ops.aten.sigmoid_backward.grad_input(by_n * candidate, reset, grad_input=by_r)
        torch.mul(kept, out - new, out=by_z)  # = (h_(t-1) - n) z (1 - z)
        d = d.flatten(1)
        rolled = weight.roll(width, dims=1)  # rows of c_n, r, z
        steps = list(zip(*(layout.steps(part) for part in (d, update, gradient)), strict=True))
        for at in range(len(steps) - 1, -1, -1):
            d_step, z, total = steps[at]
            d_step.view(*total.shape[:2], 4, width).mul_(total[:, :, None])
            if at:
                earlier, hidden = steps[at - 1][2], d_step[..., : 3 * width]
                if earlier.shape == total.shape:
                    earlier.addcmul_(total, z).baddbmm_(hidden, rolled)
                else:  # a part of the earlier step, which `baddbmm_` would take apart
                    earlier[:, : total.shape[1]].add_(torch.mul(total, z).baddbmm_(hidden, rolled))
        hidden = layout.index.from_slots(d[:, : 3 * width])
        previous = out.index_select(0, layout.before).index_fill_(0, layout.first, 0)
        # [network, direction, utterance, ...]
        hidden, previous = (
            part.view(layout.groups // 2, -1, 2, part.shape[1]).transpose(1, 2) for part in (hidden, previous)
        )
        d_weight = torch.stack(
            [hidden[:, each].transpose(1, 2) @ previous[:, each] for each in range(2)], dim=1
        )
        d_bias = hidden[..., :width].sum(dim=2).flatten(0, 1)
        d_inputs = layout.index.from_slots(d[:, width:])
        return d_inputs, d_weight.flatten(0, 1).roll(-width, dims=1), d_bias, None


def bidirectional(
    networks: Sequence[nn.GRU], rows: Sequence[Tensor], packings: Sequence[Packing]
) -> list[Tensor]:
    """The states of each network on its own rows, for sequences of the same utterances.

    Equal to running each ``nn.GRU`` (bidirectional, of equal size) on its packed sequences.

    Shapes: each [U, d] -> each [U, 2 h]
    """
    layout = _layout(packings)
    states = torch.stack(list(rows))  # [K, U, d]
    for layer in range(networks[0].num_layers):
        names = [f"l{layer}{direction}" for direction in _DIRECTIONS]
        if layer:
            states = dropout(states, networks[0].dropout, networks[0].training)
        weights = [
            torch.cat([getattr(network, f"weight_ih_{name}") for name in names]) for network in networks
        ]
        weight, bias, input_bias = (  # [G, 3 h, h], [G, 3 h], [G, 3 h]
            torch.stack([getattr(network, f"{kind}_{name}") for network in networks for name in names])
            for kind in ("weight_hh", "bias_hh", "bias_ih")
        )
        width = weight.shape[2]
        # The states' biases of r and z are added to those of the inputs.
        input_bias = input_bias + F.pad(bias[:, : 2 * width], (0, width))
        inputs = linears(states, weights, input_bias.view(len(networks), -1))  # [K, U, 6 h]
        out: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
            inputs.view(-1, 3 * width), weight, bias[:, 2 * width :], layout
        )
        states = out.view(len(networks), len(rows[0]), -1)
    return list(states.unbind())
