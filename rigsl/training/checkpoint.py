"""A trained model in one folder: weights (safetensors) and configuration (TOML)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rigsl.config import RIGSLConfig, from_mapping, read_toml
from rigsl.data.corpus import Schema
from rigsl.errors import UserError, first_line
from rigsl.files import replacing_folder
from rigsl.model.rigsl import RIGSL
from rigsl.training.teacher import TeacherRecord

WEIGHTS, CONFIG = "model.safetensors", "config.toml"
_MAX_SIZE = 1_000_000  #: of what a corpus counts; more is a damaged file
_SPARE = 64 * 2**20  #: bytes of what a model draws while it is made, besides its weights
#: What makes tensors in the modules of a model.
_MAKES = frozenset((torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand, torch.eye))


def save_checkpoint(
    folder: str | Path, model: RIGSL, *, teacher: TeacherRecord | None = None, parents: bool = True
) -> None:
    """Write a model's weights and configuration into a folder, which `load_checkpoint` reads.

    Args:
        teacher: the teacher that the model had, which `read_teacher` reads.
        parents: whether the folders that it is in are made where they are missing.
    """
    write_checkpoint(folder, model.state_dict(), model.config, model.schema, teacher=teacher, parents=parents)


def write_checkpoint(
    folder: str | Path,
    weights: Mapping[str, Tensor],
    config: RIGSLConfig,
    schema: Schema,
    *,
    teacher: TeacherRecord | None = None,
    parents: bool = True,
) -> None:
    """Write weights and configuration, such that a reader never sees the new version of only one of them.

    The two files are written into a new folder that replaces the old one; other files in `folder` are kept.
    A `teacher` stands in a table of its own beside the configuration.
    With `parents`, the folders that it is in are made where they are missing.
    """
    with replacing_folder(Path(folder), (WEIGHTS, CONFIG).__contains__, parents=parents) as fresh:
        state = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        (fresh / WEIGHTS).write_bytes(to_safetensors(state))  # save_file's errors are no OSError
        (fresh / CONFIG).write_text(_toml(config, schema, teacher), encoding="utf-8")


def _toml(config: RIGSLConfig, schema: Schema, teacher: TeacherRecord | None) -> str:
    tables: dict[str, Any] = {"data": dataclasses.asdict(schema) | {"classes": list(schema.classes)}}
    if teacher is not None:
        tables["teacher"] = dataclasses.asdict(teacher)
    return config.to_toml() + "\n" + tomli_w.dumps(tables)


def read_teacher(folder: str | Path) -> TeacherRecord | None:
    """What a checkpoint's config.toml says of the teacher that the model had; None: it had none.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = Path(folder) / CONFIG
    table = read_toml(path).get("teacher")
    if table is None:
        return None
    kinds = {"digest": str, "weight": float, "temperature": float, "origin": str}
    if not isinstance(table, dict) or {name: type(value) for name, value in table.items()} != kinds:
        raise UserError(f"{path}: the table [teacher] is damaged; restore the file from a copy")
    return TeacherRecord(**table)


def read_schema(folder: Path) -> Schema:
    """The schema in a checkpoint's config.toml.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = Path(folder) / CONFIG
    table = read_toml(path).get("data")
    names = {field.name for field in dataclasses.fields(Schema)}
    if not isinstance(table, dict) or set(table) != names:
        raise UserError(f"{path}: the table [data] is missing or incomplete; this is not a RIGSL checkpoint")
    if damaged := [name for name, valid in _SCHEMA_VALUES.items() if not valid(table[name])]:
        raise UserError(f"{path}: [data] {damaged[0]} is damaged; restore the file from a copy")
    return Schema(**table | {"classes": tuple(table["classes"])})


def _is_size(value: Any) -> bool:
    """Whether `value` is a number of features, speakers or views that a corpus can have."""
    return type(value) is int and 1 <= value <= _MAX_SIZE


#: Key of [data] -> whether its value can be one.
_SCHEMA_VALUES: dict[str, Callable[[Any], bool]] = {
    "widths": lambda value: isinstance(value, dict) and bool(value) and all(map(_is_size, value.values())),
    "text_views": lambda value: value == 0 or _is_size(value),  # 0: without text
    "text_default": lambda value: isinstance(value, str),
    "n_speakers": _is_size,
    "classes": lambda value: (
        isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
    ),
}


class _AtMost(TorchFunctionMode):
    """Refuses to make more tensors than weights in a file need, before memory is taken for their numbers.

    A configuration of a few bytes can ask for terabytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._left = size

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _MAKES:
            self._left -= result.nbytes
            if self._left < 0:
                raise RuntimeError("the configuration asks for a larger model")
        return result


def _misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Why weights are not those of the model of a configuration; empty: they are."""
    for name, own in expected.items():
        if name not in weights:
            return f"they lack {name}, which the model of {CONFIG} has"
        value = weights[name]
        if value.shape != own.shape:
            return f"{name} is {list(value.shape)}, but {list(own.shape)} in the model of {CONFIG}"
        if value.is_floating_point() != own.is_floating_point():
            return f"{name} holds {value.dtype}, not {own.dtype}"
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return f"{name} is NaN or infinite"
    unknown = [name for name in weights if name not in expected]
    return f"they hold {unknown[0]}, which the model of {CONFIG} does not have" if unknown else ""


def load_checkpoint(folder: str | Path, *, device: str = "cpu") -> RIGSL:
    """The model in a checkpoint folder, in evaluation mode.

    Raises:
        UserError: a file is missing or damaged, or weights and configuration do not fit together.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: is not a checkpoint (it has no {CONFIG})")
    values = read_toml(folder / CONFIG)
    schema = read_schema(folder)
    del values["data"]
    values.pop("teacher", None)
    config = from_mapping(values, str(folder / CONFIG))
    if missing := [key for key in config.modalities if key not in schema.widths]:
        raise UserError(
            f"{folder / CONFIG}: [data] widths lacks modality '{missing[0]}'; restore the file from a copy"
        )
    try:
        with _AtMost(_SPARE + 4 * (folder / WEIGHTS).stat().st_size):
            model = RIGSL(config, schema)
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, RuntimeError, OverflowError) as error:
        raise UserError(f"{folder / WEIGHTS}: the weights cannot be loaded ({first_line(error)})") from None
    if problem := _misfit(weights, model.state_dict()):
        raise UserError(
            f"{folder / WEIGHTS}: the weights cannot be loaded ({problem}); restore the folder from a copy"
        )
    model.load_state_dict(weights)
    return model.to(device).eval()
