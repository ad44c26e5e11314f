"""What is not trained again: in a precision that this machine is not made for, or from damaged metrics."""

import json
from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.export import rerun as module
from search.export.rerun import rerun
from search.run_folder import METRICS
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


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"machine": {"device": "cpu", "threads": 0}}, "machine.threads is missing or damaged"),
        ({"machine": {"device": "cpu", "threads": 10**30}}, "machine.threads is missing or damaged"),
        ({"lineage": None}, "lineage is damaged"),
        ({"lineage": [{}]}, "lineage is damaged"),
        ({"lineage": [{"trial": 0, "config": {}, "until_epoch": "two"}]}, "lineage is damaged"),
        ({"validated_fold": 0, "folds": [[0, 1], [2]]}, "folds is missing or damaged"),
        ({"validated_fold": [], "folds": [0] * 30}, "folds is missing or damaged"),
    ],
)
def test_damaged_metrics_are_one_sentence(searched, changes: dict, says: str) -> None:
    plan, study = searched
    plan.corpus.save(plan.folder.parent / "meld_open.safetensors")
    folder = export(plan, study).folder
    path = folder / METRICS
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    with pytest.raises(UserError) as told:
        rerun(folder, data_dir=plan.folder.parent)
    assert str(told.value) == f"{path}: {says}; restore the file from a copy"


@pytest.mark.parametrize("member", [{}, {"config": None, "fold": None}])
def test_a_member_without_a_configuration_is_not_trained_with_the_default_one(
    searched, member: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, study = searched
    plan.corpus.save(plan.folder.parent / "meld_open.safetensors")
    folder = export(plan, study).folder
    monkeypatch.setattr(module, "is_average", lambda path: True)
    path = folder / METRICS
    content = json.loads(path.read_text(encoding="utf-8")) | {"members": [member]}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="members is missing or damaged"):
        rerun(folder, data_dir=plan.folder.parent)
