"""A safe reader of pickle files: numpy arrays and builtin containers, and nothing else.

A pickle names functions, and reading it calls them. Here a name is looked up in a fixed table and never
imported; the numpy entries of the table are functions of this file that can only make a plain array.
"""

from __future__ import annotations

import collections
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.errors import UserError

_PLAIN = re.compile(r"[<>=|]?([biufSUO]\d*|\?)")  # dtypes without fields


def load_pickle(path: Path) -> Any:
    """The content of a pickle of Python 2 or 3 and numpy 1 or 2; its byte strings are read as latin1.

    Raises:
        UserError: the file cannot be read, is truncated or not a pickle, or names anything but numpy arrays
            and builtin containers; the sentence names the file, and nothing in the file has run.
    """
    try:
        with path.open("rb") as file:
            return _Reader(path, file).load()
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(
            f"{path}: is truncated or not a pickle ({type(error).__name__}); download it again"
        ) from None


class _Reader(pickle.Unpickler):
    """An unpickler that knows only the names in `_ALLOWED`."""

    def __init__(self, path: Path, file: Any) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UserError(
                f"{self._path}: names {module}.{name}, which a feature file does not need; the file was "
                "refused before anything in it ran"
            )
        return _ALLOWED[module, name]


def _dtype(text: Any, *_: Any) -> np.dtype[Any]:
    """A new dtype from its short name; its state, with the byte order, follows in the pickle."""
    if not isinstance(text, str) or not _PLAIN.fullmatch(text):
        raise ValueError(f"{text!r} is not a plain dtype")
    return np.dtype(text, align=False, copy=True)


def _array(*_: Any) -> np.ndarray:
    """An empty array; shape, dtype and data follow as its state."""
    return np.empty(0, dtype=np.int8)


def _buffer_array(data: Any, dtype: Any, shape: Any, order: str, axes: Any = None) -> np.ndarray:
    """An array of pickle protocol 5; numpy 2.3 and later describe orders other than C and F by `axes`."""
    flat = np.frombuffer(data, dtype=dtype)
    if axes is not None:
        return flat.reshape(shape).transpose(axes)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: Any, data: Any = b"") -> Any:
    """A numpy scalar; Python 2 wrote its bytes as a str."""
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype=dtype)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, which protocol 2 stores as text."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"{encoding!r} is not the encoding in which pickles store bytes")
    return text.encode("latin1")


_BUILTIN: tuple[type, ...] = (set, frozenset, list, dict, tuple, bytes, bytearray, str, int, float, bool)
_NUMPY: dict[str, Any] = {
    "multiarray._reconstruct": _array,
    "multiarray.scalar": _scalar,
    "numeric._frombuffer": _buffer_array,
}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
}
for _module in ("builtins", "__builtin__"):
    _ALLOWED |= {(_module, kind.__name__): kind for kind in _BUILTIN}
for _module in ("numpy.core", "numpy._core"):
    for _name, _function in _NUMPY.items():
        _ALLOWED[f"{_module}.{_name.split('.')[0]}", _name.split(".")[1]] = _function
