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

from rigsl.data.batches import Indices, Packing
from rigsl.data.gather import PaddedIndex
from rigsl.model.dropout import dropout
from rigsl.model.linear import linear

#: Parts of the parameter names of torch.nn.GRU.
_KINDS, _DIRECTIONS = ("weight", "bias"), ("", "_reverse")


@dataclass(frozen=True)
class _Layout:
    """The slots (time step, group, sequence) in which G groups, a network in a direction each, take S steps.

    All groups have as many sequences at a step as the one with the most of them; slots that a group has no
    utterance for compute, and nothing reads them. A step's slots are one piece of memory, which the batched
    product needs.

    sizes: sequences at each step; index: between the rows (network, utterance, direction) and the slots;
    group: [slots] the group of each slot; grouped: [slots] the slots group by group; before: [slots] the
    slot of the same sequence one step earlier, group by group (arbitrary at the first step).
    """

    groups: int
    sizes: list[int]
    index: PaddedIndex
    group: Tensor
    grouped: Tensor
    before: Tensor

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
            places[network, :, direction] = (
                groups * first[at] + (direction * count + network) * sizes[at] + rank
            )
    slot = places.ravel()
    row = np.full(groups * sizes.sum(), -1)
    row[slot] = np.arange(len(slot))
    blocks = np.repeat(sizes, groups)  # (step, group)
    group = np.repeat(np.tile(np.arange(groups), len(sizes)), blocks)
    grouped = np.argsort(group, kind="stable")
    # A block of the step before is as long as this one or longer, and there are as many blocks in between.
    start = np.cumsum(blocks) - blocks
    back = np.maximum(start - np.concatenate([start[:groups], start[:-groups]]), 0)
    before = np.arange(len(row)) - np.repeat(back, blocks)
    arrays = (np.maximum(row, 0), slot, np.flatnonzero(row < 0), group, grouped, before[grouped])
    tensors = [torch.from_numpy(array) for array in arrays]
    return _Layout(groups, sizes.tolist(), PaddedIndex(*tensors[:3]), *tensors[3:])


def _places(packing: Packing) -> tuple[Indices, Indices, Indices]:
    """The step and the rank of each utterance's sequence in the packing, and its sequence's last step."""
    sizes, step, sequence = (part.numpy() for part in (packing.sizes, packing.position, packing.sequence))
    rank = packing.inverse.numpy() - (np.cumsum(sizes) - sizes)[step]
    return step, rank, np.bincount(sequence)[sequence] - 1


class _Recurrence(torch.autograd.Function):
    """h_t = (1 - z) n + z h_(t-1); r, z = sigmoid(a + c), n = tanh(a_n + r c_n), c = h_(t-1) W^T + b
    (Cho et al., 2014, in the form of torch.nn.GRU), for the G groups of a layout.

    Shapes: inputs a [slots, 3 h], weight [G, 3 h, h], bias [G, 3 h] -> [slots, h]
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, layout: _Layout) -> Tensor:
        width = weight.shape[2]
        transposed = weight.transpose(1, 2)
        gates = bias.index_select(0, layout.group)  # becomes r, z, c_n
        gates[:, : 2 * width] += inputs[:, : 2 * width]
        new, out = inputs[:, 2 * width :].clone(), inputs.new_empty(len(inputs), width)
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
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        weight, gates, new, out = ctx.saved_tensors
        layout, width = ctx.layout, out.shape[1]
        reset, update, candidate = gates.chunk(3, dim=1)
        kept = 1 - update
        # The factors that do not depend on the gradient of later steps, for all steps at once.
        d = torch.empty(len(out), 4, width, dtype=out.dtype)  # d h / d (r, z, c_n, a_n), before the sigmoids
        by_r, by_z, by_c, by_n = d.unbind(1)
        torch.mul(kept, 1 - new * new, out=by_n)
        torch.mul(by_n, reset, out=by_c)
        torch.mul(by_c, candidate, out=by_r).mul_(1 - reset)
        torch.mul(kept, out - new, out=by_z)  # = (h_(t-1) - n) z (1 - z)
        gradient = gradient.clone()
        steps = list(zip(*(layout.steps(part) for part in (d.flatten(1), update, gradient)), strict=True))
        for at in range(len(steps) - 1, -1, -1):
            d_step, z, total = steps[at]
            d_step.unflatten(2, (4, width)).mul_(total[:, :, None])
            if at:
                earlier = torch.mul(total, z).baddbmm_(d_step[..., : 3 * width], weight)
                steps[at - 1][2][:, : earlier.shape[1]].add_(earlier)
        d_hidden = d.flatten(1)[:, : 3 * width].index_select(0, layout.grouped)
        d_hidden = d_hidden.view(layout.groups, -1, 3 * width)
        previous = out.index_select(0, layout.before).view(layout.groups, -1, width)
        previous[:, : layout.sizes[0]] = 0
        d_inputs = torch.cat([d[:, :2], d[:, 3:]], dim=1).flatten(1)
        return d_inputs, d_hidden.transpose(1, 2) @ previous, d_hidden.sum(dim=1), None


def bidirectional(
    networks: Sequence[nn.GRU], rows: Sequence[Tensor], packings: Sequence[Packing]
) -> list[Tensor]:
    """The states of each network on its own rows, for sequences of the same utterances.

    Equal to running each ``nn.GRU`` (bidirectional, of equal size) on its packed sequences.

    Shapes: each [U, d] -> each [U, 2 h]
    """
    layout = _layout(packings)
    for layer in range(networks[0].num_layers):
        names = [f"l{layer}{direction}" for direction in _DIRECTIONS]
        if layer and networks[0].dropout and networks[0].training:
            rows = dropout(torch.stack(list(rows)), networks[0].dropout, training=True).unbind()
        # [U, 6 h]: both directions; then a row is (network, utterance, direction)
        inputs = [
            linear(
                part,
                *(torch.cat([getattr(network, f"{kind}_ih_{name}") for name in names]) for kind in _KINDS),
            )
            for part, network in zip(rows, networks, strict=True)
        ]
        slots = layout.index.pad(torch.cat(inputs).view(-1, inputs[0].shape[1] // 2))
        weight, bias = (
            torch.stack([getattr(network, f"{kind}_hh_{name}") for name in names for network in networks])
            for kind in _KINDS
        )
        out: Tensor = _Recurrence.apply(slots, weight, bias, layout)  # type: ignore[no-untyped-call]
        rows = layout.index.unpad(out).view(len(networks), len(rows[0]), -1).unbind()
    return list(rows)
