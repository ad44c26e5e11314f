"""Float32 where autocast would compute in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32, or unchanged if it is wider: for scores and sums that bfloat16 would spoil."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
