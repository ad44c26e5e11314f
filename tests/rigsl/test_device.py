"""Whether the GPU of a process still works is tried out, not read from the text of an error."""

import pytest
import torch

from rigsl.device import cuda_works


class Device:
    """Takes the place of `torch.ones`: a GPU that raises `error`."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __call__(self, *_: object, device: str) -> torch.Tensor:
        assert device == "cuda"
        if self.error is not None:
            raise self.error
        return torch.zeros(1)


@pytest.mark.parametrize(
    ("error", "works"),
    [
        (None, True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (AssertionError("Torch not compiled with CUDA enabled"), False),
    ],
)
def test_a_gpu_works_unless_a_small_computation_fails(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, works: bool
) -> None:
    monkeypatch.setattr(torch, "ones", Device(error))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert cuda_works() is works


def test_an_error_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def late() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch, "ones", Device(None))
    monkeypatch.setattr(torch.cuda, "synchronize", late)
    assert not cuda_works()
