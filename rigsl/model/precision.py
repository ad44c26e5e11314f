"""What is computed in full precision whatever autocast says."""

from __future__ import annotations

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """`x` in float32, or as it is if it is wider: scores and sums that bfloat16 would spoil."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
