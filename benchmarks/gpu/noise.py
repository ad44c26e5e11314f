"""The same random numbers on the CPU and on a GPU, whose generators differ.

Dropout, the noise of the edge gates and the Gumbel noise are drawn on the CPU and copied, so that a training
takes the same steps on both. The dropout inside PyTorch's recurrent networks cannot be replaced: a
configuration without `dropout` has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from rigsl.model import dropout as model_dropout


@contextmanager
def noise_from_cpu(seed: int) -> Iterator[None]:
    """Inside the block, all noise of a model comes from one generator on the CPU."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=generator, dtype=torch.float32).to(like.device, like.dtype)

    def mask(like: Tensor, p: float) -> Tensor:
        return (uniform(like.float()) >= p).to(like.dtype) / (1 - p)

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, **_: Any) -> Tensor:
        return x * mask(x, p) if training and p else x

    def exponential(self: Tensor, *_: Any, **__: Any) -> Tensor:
        drawn = torch.empty(self.shape, dtype=torch.float32)
        drawn.uniform_(generator=generator).clamp_(1e-7, 1 - 1e-7)
        return self.copy_(drawn.log_().neg_())

    with (
        patch.object(torch, "rand_like", uniform),
        patch.object(F, "dropout", dropout),
        patch.object(model_dropout, "random_mask", mask),
        patch.object(Tensor, "exponential_", exponential),
    ):
        yield
