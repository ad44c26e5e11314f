"""A checkpoint folder that is damaged anywhere is refused with a sentence that names the file."""

from __future__ import annotations

import errno
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.model.rigsl import RIGSL
from rigsl.training import checkpoint
from rigsl.training.checkpoint import (
    CONFIG,
    WEIGHTS,
    load_checkpoint,
    read_schema,
    read_teacher,
    save_checkpoint,
    write_checkpoint,
)
from rigsl.training.teacher import TeacherRecord
from rigsl.training.trainer import write_state
from tests.helpers.small_disk import small_disk
from tests.helpers.toy_study import make_corpus

TINY = RIGSLConfig(modals="ld", hidden_dim=8, num_K=1, num_L=1, nodeformer_heads=1, nb_features_dim=4)
KEYS = ("widths", "text_views", "text_default", "n_speakers", "classes")
ODD: list[Any] = [-1, 10**12, "x", [], {}, [1], {"l": "a"}, {"l": -1}, True, 1.5]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save_checkpoint(folder, RIGSL(TINY, make_corpus().schema))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test can damage."""
    for name in (CONFIG, WEIGHTS):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    return tmp_path


def refusal(folder: Path, name: str) -> str:
    with pytest.raises(UserError) as error:
        load_checkpoint(folder)
    assert str(folder / name) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("key", KEYS)
def test_a_damaged_schema_is_refused(folder: Path, key: str) -> None:
    content = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    odd = [value for value in ODD if not (key == "text_default" and isinstance(value, str))]
    for value in odd:
        damaged = content | {"data": content["data"] | {key: value}}
        (folder / CONFIG).write_text(tomli_w.dumps(damaged), encoding="utf-8")
        assert f"[data] {key}" in refusal(folder, CONFIG), value
    del damaged["data"][key]
    (folder / CONFIG).write_text(tomli_w.dumps(damaged), encoding="utf-8")
    assert "incomplete" in refusal(folder, CONFIG)


def test_a_modality_without_a_width_is_refused(folder: Path) -> None:
    content = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    del content["data"]["widths"]["d"]
    (folder / CONFIG).write_text(tomli_w.dumps(content), encoding="utf-8")
    assert "[data] widths lacks modality 'd'" in refusal(folder, CONFIG)


def test_a_checkpoint_says_which_teacher_its_model_had(made: Path, tmp_path: Path) -> None:
    assert read_teacher(made) is None
    record = TeacherRecord("0" * 64, 0.6, 1.0, 'of "three"\nfolds')
    model = load_checkpoint(made)
    save_checkpoint(tmp_path / "taught", model, teacher=record)
    assert read_teacher(tmp_path / "taught") == record
    assert read_schema(tmp_path / "taught") == read_schema(made)
    assert load_checkpoint(tmp_path / "taught").config == model.config
    save_checkpoint(tmp_path / "taught", model)
    assert read_teacher(tmp_path / "taught") is None


@pytest.mark.parametrize(
    "table",
    [1, [], {}, {"digest": "0"}, {"digest": 0, "weight": 0.6, "temperature": 1.0, "origin": ""}],
    ids=str,
)
def test_a_damaged_teacher_is_refused(folder: Path, table: Any) -> None:
    content = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(tomli_w.dumps(content | {"teacher": table}), encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.toml: the table \[teacher\] is damaged; restore"):
        read_teacher(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    weights, rng = (folder / WEIGHTS).read_bytes(), random.Random(0)
    for cut in (0, 1, 8, 9, 1000, len(weights) - 1):
        (folder / WEIGHTS).write_bytes(weights[:cut])
        refusal(folder, WEIGHTS)
    for _ in range(50):
        damaged = bytearray(weights)
        damaged[rng.randrange(8)] ^= 1 << rng.randrange(8)  # the length of the header
        (folder / WEIGHTS).write_bytes(bytes(damaged))
        refusal(folder, WEIGHTS)
    (folder / WEIGHTS).unlink()
    refusal(folder, WEIGHTS)


@pytest.mark.parametrize(
    "larger",
    [{"hidden_dim": 4096, "num_K": 64, "nodeformer_heads": 64}, {"hidden_dim": 1024}],
    ids=["terabytes", "megabytes"],
)
def test_a_configuration_of_a_larger_model_than_the_weights_takes_no_memory(
    folder: Path, larger: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_SPARE", 2**20)
    content = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(tomli_w.dumps(content | larger), encoding="utf-8")
    assert "the configuration asks for a larger model" in refusal(folder, WEIGHTS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: value * float("nan"), "is NaN or infinite"),
        (lambda value: value.long(), "holds torch.int64, not torch.float32"),
        (lambda value: value[:1].clone(), "in the model of config.toml"),
        (lambda value: None, "which the model of config.toml has"),
    ],
)
def test_weights_of_another_model_are_refused_by_name(folder: Path, change: Any, says: str) -> None:
    weights = load_file(folder / WEIGHTS)
    name = next(name for name, value in weights.items() if value.dim() == 2)
    changed = change(weights[name])
    save_file(
        {key: value for key, value in (weights | {name: changed}).items() if value is not None},
        folder / WEIGHTS,
    )
    shown = refusal(folder, WEIGHTS)
    assert name in shown
    assert says in shown
    save_file(weights | {"other": torch.zeros(1)}, folder / WEIGHTS)
    assert "they hold other, which the model of config.toml does not have" in refusal(folder, WEIGHTS)


@pytest.mark.parametrize("written", [0, 1])
def test_a_state_for_which_there_is_no_room_is_an_error_of_the_disk(
    tmp_path: Path, request: pytest.FixtureRequest, written: int
) -> None:
    """PyTorch itself raises a RuntimeError, "unexpected pos 64 vs 0" or "iostream error"."""
    state = {"weights": torch.zeros(100_000)}
    with small_disk(tmp_path / "disk", request, megabytes=1) as disk:
        for number in range(written):
            write_state(state, disk.folder / f"{number}.pt")
        disk.fill()
        with pytest.raises(OSError, match="No space left") as caught:
            write_state(state, disk.folder / "state.pt")
        disk.make_room()
        assert caught.value.errno == errno.ENOSPC
        assert len([*disk.folder.iterdir()]) == written


def test_nothing_of_a_training_is_written_in_the_place_of_a_folder_that_is_away(tmp_path: Path) -> None:
    """A share that is unmounted between two epochs leaves an empty folder, at any moment."""
    model = RIGSL(TINY, make_corpus().schema)
    weights = model.state_dict(), model.config, model.schema
    with pytest.raises(FileNotFoundError):
        write_checkpoint(tmp_path / "trial" / "model", *weights, parents=False)
    with pytest.raises(FileNotFoundError):
        write_state({"epoch": 1}, tmp_path / "trial" / "state.pt")
    assert not any(tmp_path.iterdir())
    write_checkpoint(tmp_path / "trial" / "model", *weights)
    assert (tmp_path / "trial" / "model" / WEIGHTS).is_file()
