"""An exported configuration is not trained again in a precision that this machine is not made for."""

from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.export import rerun as module
from search.export.rerun import rerun
from tests.search.export.test_best import export, searched

__all__ = ["searched"]  # a fixture


@pytest.fixture
def best(searched, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A result in bfloat16, on a machine that is not made for it."""
    plan, study = searched
    plan.corpus.save(plan.folder.parent / "meld_open.safetensors")
    folder = export(plan, study).folder
    text = (folder / "config.toml").read_text(encoding="utf-8")
    assert 'precision = "fp32"' in text
    (folder / "config.toml").write_text(text.replace('"fp32"', '"bf16"'), encoding="utf-8")
    monkeypatch.setattr(module, "unsuited", lambda device, name: f"{device} is slow in {name}")
    return folder


def test_such_a_result_is_refused_unless_forced(best: Path) -> None:
    data = best.parents[1]
    with pytest.raises(UserError) as refused:
        rerun(best, data_dir=data)
    assert str(refused.value) == (
        f"--rerun {best}: was trained with precision = 'bf16': cpu is slow in bf16; rerun it on another "
        "machine, or give --force"
    )
    assert rerun(best, data_dir=data, force=True).device == "cpu"
