"""The recurrences of K trainings at once: the groups of all take their time steps side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rigsl.data.gather import PaddedIndex
from rigsl.model.recurrent import _Layout, _Recurrence

#: As it is without the rules, which replace it in the modules of the model.
_RECURRENCE: Any = _Recurrence.apply


def recurrence(inputs: Tensor, weight: Tensor, bias: Tensor, layout: _Layout) -> Tensor:
    """`rigsl.model.recurrent._Recurrence` of each training, all of one layout.

    Shapes: inputs [K, rows, 3 h], weight [K, G, 3 h, h], bias [K, G, h] -> [K, rows, h]
    """
    wide = wide_layout(layout, len(inputs))
    states: Tensor = _RECURRENCE(*(part.flatten(0, 1) for part in (inputs, weight, bias)), wide)
    return states.view(*inputs.shape[:2], -1)


def wide_layout(layout: _Layout, count: int) -> _Layout:
    """The layout of the groups of `count` trainings, which have this layout each, one training after the
    other."""
    slots, rows = len(layout.group), len(layout.index.slot)
    steps = np.cumsum(layout.groups * np.array(layout.sizes))[:-1]
    own = np.arange(count * slots).reshape(count, slots)
    order = np.concatenate([part.ravel() for part in np.split(own, steps, axis=1)])  # (step, training, ...)
    wide = np.empty_like(order)
    wide[order] = np.arange(len(order))
    wide = wide.reshape(count, slots)  # the slot of each training's own slot
    slot, before = (wide[:, part.numpy()].ravel() for part in (layout.index.slot, layout.before))
    row = np.full(count * slots, -1)
    row[slot] = np.arange(count * rows)
    group = (layout.group.numpy() + layout.groups * np.arange(count)[:, None]).ravel()[order]
    first = (layout.first.numpy() + rows * np.arange(count)[:, None]).ravel()
    arrays = (np.maximum(row, 0), slot, np.flatnonzero(row < 0), group, before, first)
    tensors = [torch.from_numpy(array) for array in arrays]
    return _Layout(count * layout.groups, layout.sizes, PaddedIndex(*tensors[:3]), *tensors[3:])
