"""The arithmetic that a configuration asks for: TF32 or full float32, bfloat16, deterministic operations.

TF32 rounds the inputs of a product to 10 bits of mantissa on GPUs since Ampere. PyTorch uses it in cuDNN's
recurrent networks unless told otherwise, and not in matrix products; here `precision` decides on both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from rigsl.config import RIGSLConfig

# PyTorch looks at it once, before the first product on a GPU, whatever the configuration of that one is.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def arithmetic(config: RIGSLConfig, device: str, *, training: bool) -> Iterator[None]:
    """Compute as `config` says inside the block: with TF32 or full float32, and deterministically or not.

    These are settings of the whole process, which are restored afterwards; a backward pass belongs inside.

    Args:
        training: False in an evaluation, which is always in full float32.
    """
    with ExitStack() as stack:
        if torch.device(device).type == "cuda":
            stack.enter_context(_products(tf32=training and config.precision == "tf32"))
        if config.deterministic:
            stack.enter_context(_deterministic())
        yield


def autocast(config: RIGSLConfig, device: str) -> torch.autocast:
    """bfloat16 in a training's forward pass, if `config` says so."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=config.precision == "bf16")


@contextmanager
def _products(*, tf32: bool) -> Iterator[None]:
    """Matrix products and recurrent networks on a GPU with TF32, or in full float32."""
    matmul, recurrence = torch.get_float32_matmul_precision(), _recurrence_tf32()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    _set_recurrence_tf32(tf32)
    try:
        yield
    finally:
        _set_recurrence_tf32(recurrence)
        torch.set_float32_matmul_precision(matmul)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Operations whose result is the same every time; one that has no such form raises an error."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _recurrence_tf32() -> bool:
    """Whether cuDNN's recurrent networks may use TF32."""
    recurrence: Any = getattr(torch.backends.cudnn, "rnn", None)  # since PyTorch 2.9
    if recurrence is None:
        return bool(torch.backends.cudnn.allow_tf32)
    return bool(recurrence.fp32_precision == "tf32")


def _set_recurrence_tf32(allowed: bool) -> None:
    recurrence: Any = getattr(torch.backends.cudnn, "rnn", None)
    if recurrence is None:
        torch.backends.cudnn.allow_tf32 = allowed
    else:
        recurrence.fp32_precision = "tf32" if allowed else "ieee"
