"""The device of a run, checked before anything starts, its CPU threads, and its errors: what still works."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rigsl.errors import UserError
from rigsl.wording import counted

#: In a RuntimeError, that memory is full: of PyTorch's CPU allocator (``c10/core/impl/alloc_cpu.cpp``), and
#: of the CUDA libraries that allocate for themselves.
_MEMORY_FULL = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)


def cores() -> int:
    """Cores that this process may use, by its CPU affinity and its container's limit."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        count = min(count, max(1, int(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        pass
    return count


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the memory of the CPU or of the GPU is full.

    PyTorch has a type for its own GPU allocator only, `torch.OutOfMemoryError`. Its CPU allocator and the
    CUDA libraries raise a RuntimeError, the operating system an OSError.
    """
    import torch

    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_FULL)


def cuda_works() -> bool:
    """Whether this process can still compute on its GPU.

    After an illegal memory access, a device-side assert or a failed launch, every further call of CUDA in the
    same process fails (CUDA Runtime API, cudaErrorIllegalAddress and others), with whatever text. Full memory
    is no such fault.
    """
    import torch

    try:
        torch.ones(1, device="cuda").add_(1).item()
        torch.cuda.synchronize()
    except Exception as error:
        return is_out_of_memory(error)
    return True


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
