"""Which precisions a device is made for is read from its instruction sets, or measured where those say no."""

from types import SimpleNamespace

import pytest
import torch

from rigsl import precisions
from rigsl.precisions import instruction_sets, product_ratio, unsuited

ZEN3, ZEN4 = ("avx", "avx2", "fma3"), ("avx", "avx2", "avx512_bf16", "avx512_f", "fma3")


def processor(monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...], ratio: float = 0.0) -> None:
    """This processor has these instruction sets, and this ratio of products; 0: it must not be measured."""
    capabilities = dict.fromkeys(sets, True) | {"cache": 32, "avx512_fp16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    def measured() -> float:
        assert ratio, "the instruction sets suffice"
        return ratio

    monkeypatch.setattr(precisions, "product_ratio", measured)


@pytest.mark.parametrize("sets", [ZEN4, ("avx512_f", "amx_bf16", "amx_tile"), ("neon", "bf16")])
def test_a_processor_with_bfloat16_instructions_is_made_for_all_precisions(
    monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...]
) -> None:
    processor(monkeypatch, sets)
    assert [unsuited("cpu", name) for name in ("fp32", "tf32", "bf16")] == ["", "", ""]


@pytest.mark.parametrize(("ratio", "words"), [(36.4, "36 times"), (2.7234, "2.7 times")])
def test_a_processor_without_them_says_what_bfloat16_costs(
    monkeypatch: pytest.MonkeyPatch, ratio: float, words: str
) -> None:
    processor(monkeypatch, ZEN3, ratio)
    assert unsuited("cpu", "bf16") == (
        f"this processor has no bfloat16 instructions: a product takes {words} as long as in float32"
    )
    assert unsuited("cpu", "fp32") == unsuited("cpu", "tf32") == ""


def test_a_processor_without_them_that_is_fast_enough_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, ("neon",), 1.2)
    assert unsuited("cpu", "bf16") == ""


def test_a_processor_of_which_pytorch_knows_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(precisions, "product_ratio", lambda: 30.0)
    assert instruction_sets() == ()
    assert "30 times" in unsuited("cpu", "bf16")


def test_only_vector_instruction_sets_that_are_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, (*ZEN4, "popcnt"))
    assert instruction_sets() == ZEN4


def test_the_product_is_measured_on_this_machine() -> None:
    before = torch.get_num_threads()
    assert 0 < product_ratio() < float("inf")
    assert torch.get_num_threads() == before


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """An A100 and a T4."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: ((8, 0), (7, 5))[index])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: ("A100", "T4")[index])


@pytest.mark.usefixtures("gpus")
def test_a_gpu_before_ampere_is_made_for_float32_only() -> None:
    assert [unsuited("cuda:0", name) for name in ("fp32", "tf32", "bf16")] == ["", "", ""]
    assert unsuited("cuda:1", "fp32") == ""
    t4 = "T4 (compute capability 7.5) has no"
    assert unsuited("cuda:1", "tf32") == f"{t4} TF32 units, which came with 8.0: it computes as fp32 does"
    assert unsuited("cuda:1", "bf16") == (
        f"{t4} bfloat16 units, which came with 8.0: it is emulated, and slower than float32"
    )


@pytest.mark.usefixtures("gpus")
def test_trials_on_any_gpu_of_a_machine_need_all_of_them() -> None:
    assert unsuited("cuda", "bf16").startswith("T4")


@pytest.mark.usefixtures("gpus")
def test_the_numbers_of_amds_gpus_are_no_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "version", SimpleNamespace(hip="6.4"))
    assert unsuited("cuda", "bf16") == ""
