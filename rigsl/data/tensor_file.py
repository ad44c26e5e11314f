"""Named arrays and one JSON object in a .safetensors file, read by memory map.

Layout (github.com/huggingface/safetensors): 8 bytes little-endian header length, a JSON header
``{name: {dtype, shape, data_offsets}, "__metadata__": {text: text}}``, then the data. The JSON object is
stored as one metadata string, so that the bytes of a file depend on its content only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as to_safetensors

from rigsl.errors import UserError
from rigsl.files import replacing

_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "|u1"}
_KEY = "content"  # of the metadata string


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], content: Mapping[str, Any]) -> None:
    """Write arrays and a JSON-able object to `path`, atomically.

    Raises:
        UserError: the folder is missing or cannot be written.
    """
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = to_safetensors(plain, metadata={_KEY: json.dumps(content, ensure_ascii=False, sort_keys=True)})
    if not path.parent.is_dir():
        raise UserError(f"{path}: cannot be written, for there is no folder {path.parent}; make it first")
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


def map_arrays(
    path: Path, *, kind: str = "corpus file", again: str = "build or download it again"
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The read-only arrays of a file, as plain numpy arrays over one memory map, and its JSON object.

    Args:
        kind: what the file is meant to be, for the sentence of a damaged one.
        again: what to do then.

    Raises:
        UserError: the file is missing, truncated or not of this format; the sentence names it.
    """
    try:
        raw = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError:  # an empty file cannot be mapped
        raise UserError(f"{path}: is empty; {again}") from None
    try:
        size = int.from_bytes(raw[:8].tobytes(), "little")
        header: dict[str, Any] = json.loads(raw[8 : 8 + size].tobytes())
        content = json.loads(header.pop("__metadata__")[_KEY])
        data = raw[8 + size :]
        return {name: _view(data, spec) for name, spec in header.items()}, dict(content)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise UserError(f"{path}: is damaged or not a {kind} of this project; {again}") from None


def _view(data: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
    """A view of one array of the file; ValueError if its offsets, type and shape contradict each other."""
    begin, end = spec["data_offsets"]
    dtype, shape = np.dtype(_DTYPES[spec["dtype"]]), tuple(spec["shape"])
    if not 0 <= begin <= end <= data.size or end - begin != prod(shape) * dtype.itemsize:
        raise ValueError("the array lies outside the file")
    return data[begin:end].view(dtype).reshape(shape)
