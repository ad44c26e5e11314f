"""Parts of the forward pass that are computed again in the backward pass, to keep less in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Any], *inputs: Any, random: bool = False) -> Any:
    """The result of a function, of which only the inputs are kept for the backward pass.

    Args:
        random: whether the function draws random numbers, which are then drawn again.
    """
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=random)
