"""What the folder of a sentence encoder may hold: settings and safetensors weights, and nothing that runs.

sentence-transformers before 6.0 runs code of a local folder that ``modules.json`` names (6.2.0 says so in
`sentence_transformers.util.misc.import_module_class`). transformers imports classes that ``auto_map`` names
if it is allowed to, fetches the code of an attention "owner/name" from the hub, and reads
``pytorch_model.bin`` where there is no safetensors file. A folder is checked before either library sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rigsl.errors import UserError
from rigsl.files import read_json

MODULES = "modules.json"
#: Modules of sentence-transformers that make a vector of a text; those that have weights.
_MODULES = ("Transformer", "Pooling", "Normalize", "Dense", "Dropout", "LayerNorm")
_WITH_WEIGHTS = ("Transformer", "Dense", "LayerNorm")
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"

#: A list of training data in the folder of many encoders, which nothing reads.
_TRAINED_ON = "data_config.json"
#: Keys of a settings file by which code, or files from elsewhere, would be loaded -> what they do.
_KEYS = {
    "auto_map": "names code that would have to be run",
    "tokenizer_name_or_path": "names files outside the folder",
    "base_model_name_or_path": "names files outside the folder",
    "transformers_weights": "names other weights than model.safetensors",
} | dict.fromkeys(
    ("model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs", "config_kwargs"),
    "changes how files are loaded",
)  # fmt: skip
#: Keys whose value may be the name of code on the hub: "owner/name".
_IMPLEMENTATION = re.compile(r"_?(attn|experts)_implementation(_internal)?")
_ACTIVATION = re.compile(r"torch\.nn\.(modules\.\w+\.)?\w+")


def check_encoder(folder: Path) -> None:
    """Check that loading the encoder in `folder` runs no code but that of the installed libraries.

    Raises:
        UserError: it would, or weights are in another format than safetensors; the sentence names the file.
    """
    for path in sorted(folder.rglob("*config.json")):
        if path.name != _TRAINED_ON:
            _check_settings(path)
    for module in read_json(folder / MODULES, list) or []:
        kind, subfolder = _read_module(module, folder / MODULES)
        if kind == "Dense":
            _check_activation(folder / subfolder / "config.json")
        if kind in _WITH_WEIGHTS:
            _check_weights(folder / subfolder)


def _read_module(module: Any, source: Path) -> tuple[str, str]:
    """Kind and folder of an entry of ``modules.json``."""
    type_name, path = (module.get("type"), module.get("path")) if isinstance(module, dict) else (None, None)
    package, _, kind = str(type_name).rpartition(".")
    if package.split(".")[0] != "sentence_transformers" or kind not in _MODULES:
        known = ", ".join(_MODULES)
        raise UserError(
            f"{source}: names the module {type_name}, which is none of sentence-transformers' {known}; "
            "no code of an encoder is run, so use another one"
        )
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise UserError(f"{source}: names the folder {path}, which is not in that of the encoder")
    return kind, path


def _check_settings(path: Path) -> None:
    for key, value in _entries(read_json(path, dict) or {}):
        problem = _KEYS.get(key, "") if value else ""
        if _IMPLEMENTATION.fullmatch(key) and "/" in str(value):
            problem = "names code that would have to be run"
        if problem:
            raise UserError(f"{path}: {key} {problem}; remove it, or use another encoder")


def _check_activation(path: Path) -> None:
    """Check that the activation of a dense layer, which is imported by its name, is one of PyTorch."""
    name = (read_json(path, dict) or {}).get("activation_function", "torch.nn.Tanh")
    if not _ACTIVATION.fullmatch(str(name)):
        raise UserError(f"{path}: activation_function {name} is none of torch.nn; use another encoder")


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """All keys of nested dicts and lists, with their values."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from _entries(value)
    elif isinstance(content, list):
        for value in content:
            yield from _entries(value)


def _check_weights(folder: Path) -> None:
    """Check that a module's weights are safetensors, in one file or in several with an index."""
    if (folder / _WEIGHTS).is_file():
        return
    index = read_json(folder / _INDEX, dict)
    if index is None:
        other = sorted(path.name for path in folder.glob("pytorch_model*"))
        held = f"holds {other[0]}, but no {_WEIGHTS}" if other else f"holds no {_WEIGHTS}"
        raise UserError(f"{folder}: {held}; only safetensors weights are read, so convert it first")
    names = index.get("weight_map")
    for name in names.values() if isinstance(names, dict) else [None]:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise UserError(f"{folder / _INDEX}: names {name}, which is no safetensors file of this folder")
