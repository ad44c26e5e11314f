"""The device of a run, checked before anything starts, and its CPU threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rigsl.errors import UserError
from rigsl.wording import counted


def resolve_device(name: str) -> str:
    """`auto` -> `cuda` where there is a GPU, else `cpu`; any other name is checked.

    Raises:
        UserError: the name is not a device, or this machine has no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: is no device; choose auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: there is no such GPU here, only {counted(torch.cuda.device_count(), 'GPU')}; "
            "choose another one, or cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: RIGSL runs on cpu and cuda only; choose one of them")
    return name


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads inside this block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
