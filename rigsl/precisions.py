"""Which values of `precision` a device is made for, and what the others would cost there.

Without instructions for it, a processor computes a product of bfloat16 numbers one by one: a training step of
the published MELD configuration took 36 times as long as in float32 on a processor with AVX2 only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rigsl.device import threads

#: PyTorch's names of instruction sets that multiply bfloat16 numbers: of x86, then of ARM.
BFLOAT16_SETS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "sve_bf16"})
#: How the names begin of the instruction sets on which the speed of a training depends.
_SHOWN = ("avx", "fma", "amx", "neon", "sve", "sme", "bf16", "sse4")
#: A processor without these instruction sets may still be fast enough: a bfloat16 product that takes up to
#: this many times as long as in float32 is accepted.
TOLERATED = 1.5
#: Least compute capability of a GPU with TF32 and bfloat16 units: Ampere.
AMPERE = (8, 0)
#: Rows, inner size and columns of the product that is timed, and how often.
_PRODUCT, _REPEATS = (256, 512, 256), 3


def unsuited(device: str, precision: str) -> str:
    """Why `device` is not made for `precision`, and what that would cost; empty if it is.

    Args:
        device: "cpu", "cuda" (all GPUs of this process) or "cuda:N".
        precision: one of the values of `RIGSLConfig.precision`.
    """
    import torch

    if precision == "fp32":
        return ""
    if torch.device(device).type == "cuda":
        return _unsuited_gpu(device, precision)
    if precision == "tf32" or BFLOAT16_SETS & set(instruction_sets()):  # TF32 is float32 on a CPU
        return ""
    if (times := product_ratio()) <= TOLERATED:
        return ""
    number = f"{times:.{0 if times >= 3 else 1}f}"
    return (
        f"this processor has no bfloat16 instructions: a product takes {number} times as long as in float32"
    )


def instruction_sets() -> tuple[str, ...]:
    """The vector instruction sets of this processor, by PyTorch's names; empty if PyTorch does not know."""
    import torch

    known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since PyTorch 2.10
    return tuple(sorted(name for name, has in known.items() if has is True and name.startswith(_SHOWN)))


def product_ratio() -> float:
    """How many times as long as in float32 a matrix product takes in bfloat16, on one thread of this CPU.

    The shortest of some runs each: others may use this machine, too.
    """
    import torch

    rows, inner, columns = _PRODUCT
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with threads(1), torch.inference_mode():
        for repeat in range(_REPEATS + 1):
            for dtype in best:
                left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
                start = time.perf_counter()
                torch.mm(left, right)
                if repeat:  # the first product also compiles its kernel
                    best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best[torch.bfloat16] / best[torch.float32]


def _unsuited_gpu(device: str, precision: str) -> str:
    """Why a GPU has no units for `precision`; the capabilities of AMD's GPUs say nothing of it."""
    import torch

    index = torch.device(device).index
    for number in range(torch.cuda.device_count()) if index is None else (index,):
        capability = torch.cuda.get_device_capability(number)
        if capability < AMPERE and torch.version.hip is None:
            name = torch.cuda.get_device_name(number)
            costs = {"tf32": "it computes as fp32 does", "bf16": "it is emulated, and slower than float32"}
            word = {"tf32": "TF32", "bf16": "bfloat16"}[precision]
            major, minor = capability
            return (
                f"{name} (compute capability {major}.{minor}) has no {word} units, which came with 8.0: "
                f"{costs[precision]}"
            )
    return ""
