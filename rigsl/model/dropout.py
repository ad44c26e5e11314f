"""Dropout, by fewer random numbers on the CPU.

PyTorch draws a random number for every element, one by one, which takes a fifteenth of a small model's step.
Here one drawn word of 64 bits decides on four elements.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Values of the 16 bits that decide on an element; a probability is rounded to a multiple of its inverse.
VALUES = 2**16


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """``torch.nn.functional.dropout``: zero with probability p, else x / (1 - p), in training.

    Shapes: [...] -> [...]
    """
    if not training or p == 0 or x.device.type != "cpu":
        return F.dropout(x, p, training)
    return x * random_mask(x, p)


def random_mask(like: Tensor, p: float) -> Tensor:
    """Zero with probability p, else 1 / (1 - p), for each element of `like`. On the CPU."""
    kept = kept_values(p)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: like.numel()].view(like.shape)
    # Of whole numbers, clamp(n - m, 0, 1) is 1 where m < n, else 0; a comparison takes several times as long.
    mask = (kept - VALUES // 2 - bits.float()).clamp_(0, 1)
    return mask.to(like.dtype).mul_(VALUES / kept)


def kept_values(p: float) -> int:
    """How many of the VALUES keep an element that is dropped with probability p > 0."""
    return min(round((1 - p) * VALUES), VALUES - 1)
