"""The recurrences of K trainings at once: the groups of all take their time steps side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rigsl.data.gather import PaddedIndex, _Pad, _Unpad
from rigsl.model.recurrent import _Layout, _Recurrence

#: As they are without the rules, which replace them in the modules of the model.
_PAD: Any = _Pad.apply
_UNPAD: Any = _Unpad.apply
_RECURRENCE: Any = _Recurrence.apply


def recurrence(inputs: Tensor, weight: Tensor, bias: Tensor, layout: _Layout) -> Tensor:
    """`rigsl.model.recurrent._Recurrence` of each training, all of one layout.

    Shapes: inputs [K, slots, 3 h], weight [K, G, 3 h, h], bias [K, G, 3 h] -> [K, slots, h]
    """
    wide = wide_layout(layout, len(inputs))
    slots = _PAD(inputs.flatten(0, 1), wide.index)
    out = _RECURRENCE(slots, weight.flatten(0, 1), bias.flatten(0, 1), wide)
    states: Tensor = _UNPAD(out, wide.index).view(*inputs.shape[:2], -1)
    return states


def wide_layout(layout: _Layout, count: int) -> _Layout:
    """The layout of the groups of `count` trainings, which have this layout each.

    Its index is between the slots of the trainings, one training after the other, and its own slots.
    """
    slots = len(layout.group)
    steps = np.cumsum(layout.groups * np.array(layout.sizes))[:-1]
    rows = np.arange(count * slots).reshape(count, slots)
    row = np.concatenate([part.ravel() for part in np.split(rows, steps, axis=1)])  # (step, training, ...)
    slot = np.empty_like(row)
    slot[row] = np.arange(len(row))
    group = layout.group.numpy() + layout.groups * np.arange(count)[:, None]
    grouped, before = (
        slot.reshape(count, slots)[:, part.numpy()] for part in (layout.grouped, layout.before)
    )
    arrays = (row, slot, np.empty(0, dtype=np.int64), group.ravel()[row], grouped.ravel(), before.ravel())
    tensors = [torch.from_numpy(array) for array in arrays]
    return _Layout(count * layout.groups, layout.sizes, PaddedIndex(*tensors[:3]), *tensors[3:])
