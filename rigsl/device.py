"""Which device a run uses, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rigsl.errors import UserError


def resolve_device(name: str) -> str:
    """`auto` -> `cuda` where there is a GPU, else `cpu`; another name is checked.

    Raises:
        UserError: the name is no device, or there is no such device here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: is no device; take auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there is no such GPU here ({torch.cuda.device_count()} found)")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: RIGSL runs on cpu and cuda")
    return name


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` CPU threads in this block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
