"""A safe reader of pickle files: numpy arrays and builtin containers, and nothing else.

A pickle is a program for a stack machine: it names functions, calls them and sets the state of objects. Here
a name is looked up in a fixed table and never imported; what it stands for can only describe an array
(`stand_ins`). pickle's reader in C is not used: its operations cannot be chosen, a number in a file makes it
take gigabytes, and a deeply nested key ends the process. A file can name one of its values a million times,
so its size limits how much is copied, and how much it holds with all repetitions.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Sized
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rigsl.data.official.stand_ins import (
    ArrayRecord,
    DtypeRecord,
    Name,
    OrderedRecord,
    buffer_array,
    check_repetitions,
    checked_number,
    finished,
    scalar,
)
from rigsl.errors import UserError

#: Bytes that are read without a look at the size of the file.
_SMALL = 1 << 16
#: Most that is copied while a file is read, and that it holds with all repetitions, for each of its bytes.
_COPIES, _REPETITIONS = 4, 16
#: What a dict may have as its key, and a set as its member. No tuples: their hashes can be made to collide.
_KEYS = (str, bytes, int, float, type(None), np.generic)


def load_pickle(path: Path) -> Any:
    """The content of a pickle of Python 2 or 3 and numpy 1 or 2; its byte strings are read as latin1.

    Arrays are read-only, except arrays of objects.

    Raises:
        UserError: the file cannot be read, is truncated or not a pickle, or names anything but numpy arrays
            and builtin containers; the sentence names the file, and nothing in the file has run.
    """
    try:
        with path.open("rb") as file:
            content = finished(_Reader(path, file).load(), {})
            check_repetitions(content, _most(_REPETITIONS, file))
            return content
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise UserError(f"{path}: does not fit into memory; free some, or download the file again") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(
            f"{path}: is truncated or not a pickle ({type(error).__name__}); download it again"
        ) from None


class _Source:
    """A file that refuses to read more bytes at once than it has, before memory is taken for them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self.readline = file.readline

    def read(self, size: int) -> bytes:
        if size > _SMALL and size > self._size:
            raise EOFError
        return self._file.read(size)


class _Reader(pickle._Unpickler):
    """The stack machine with the operations that numbers, text, containers and arrays need."""

    stack: list[Any]
    metastack: list[Any]

    def __init__(self, path: Path, file: BinaryIO) -> None:
        super().__init__(_Source(file), encoding="latin1")
        self._path, self._copied, self._most = path, 0, _most(_COPIES, file)

    def find_class(self, module: str, name: str) -> Name:
        if (module, name) not in _ALLOWED:
            shown = re.sub(r"[^\w.<>]", "?", f"{module}.{name}")[:100]
            raise UserError(
                f"{self._path}: names {shown}, which a feature file does not need; the file was refused "
                "before anything in it ran"
            )
        return _ALLOWED[module, name]

    def load_reduce(self) -> None:
        """Call a name of the table."""
        arguments, name = self.stack.pop(), self.stack[-1]
        if type(name) is not Name or name.function is None or type(arguments) is not tuple:
            raise ValueError("a call of something that cannot be called")
        self._count(arguments)
        self.stack[-1] = name.function(*arguments)

    def load_build(self) -> None:
        """Set the state of a dtype or an array."""
        state, record = self.stack.pop(), self.stack[-1]
        if not isinstance(record, DtypeRecord | ArrayRecord):
            raise ValueError("a state for something that has none")
        self._count(state)
        record.set_state(state)

    def load_append(self) -> None:
        item = self.stack.pop()
        self._list().append(item)

    def load_appends(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._list().extend(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._dict()[_key(key)] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._dict().update(_pairs(items))

    def load_dict(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append(dict(_pairs(items)))

    def load_additems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        if type(self.stack[-1]) is not set:
            raise ValueError("members for something that is no set")
        self.stack[-1].update(map(_key, items))

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append(frozenset(map(_key, items)))

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.stack.append(bytearray(self.read(size)))  # type: ignore[attr-defined]

    def _count(self, arguments: Any) -> None:
        """Count what a call or a state may copy."""
        parts = arguments if type(arguments) is tuple else ()
        self._copied += sum(len(part) for part in parts if isinstance(part, Sized))
        if self._copied > self._most:
            raise ValueError("one value is copied again and again")

    def _list(self) -> list[Any]:
        if type(self.stack[-1]) is not list:
            raise ValueError("items for something that is no list")
        return self.stack[-1]

    def _dict(self) -> dict[Any, Any]:
        if not isinstance(self.stack[-1], dict):
            raise ValueError("entries for something that is no dict")
        return self.stack[-1]


def _most(factor: int, file: BinaryIO) -> int:
    """`factor` times the size of the file; more for a small one, which may well repeat itself."""
    return factor * os.fstat(file.fileno()).st_size + _SMALL


def _key(value: Any) -> Any:
    """`value`, if its hash is quick and needs no recursion."""
    if not isinstance(value, _KEYS):
        raise ValueError("a key that is neither text nor a number")
    return checked_number(value)


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    return [(_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True)]


def _members(items: Any = ()) -> list[Any]:
    if type(items) not in (list, tuple):
        raise ValueError("a set of something that is no list")
    return [_key(item) for item in items]


def _ordered(items: Any = ()) -> OrderedRecord:
    """An OrderedDict; Python 2 gives its pairs as lists."""
    if type(items) not in (list, tuple) or not all(type(pair) in (list, tuple) for pair in items):
        raise ValueError("an OrderedDict of something that is no list of pairs")
    return OrderedRecord([(_key(key), value) for key, value in items])


def _plain_dict(factory: Any = None) -> dict[Any, Any]:
    """A dict in place of a defaultdict: nothing is read that is not there."""
    return {}


def _array(*_: Any) -> ArrayRecord:
    """An array whose shape, dtype and data follow as its state."""
    return ArrayRecord()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes, which protocol 2 stores as text."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError("not the way in which pickles store bytes")
    return text.encode("latin1")


def _bytearray(data: Any = b"", encoding: Any = "latin1") -> bytearray:
    return bytearray(data if type(data) is bytes else _encode(data, encoding))


def _empty_bytes() -> bytes:
    """bytes(), as protocol 2 stores it."""
    return b""


_BUILTIN: dict[str, Name] = {
    "set": Name(lambda items=(): set(_members(items))),
    "frozenset": Name(lambda items=(): frozenset(_members(items))),
    "bytes": Name(_empty_bytes),
    "bytearray": Name(_bytearray),
} | {name: Name() for name in ("list", "dict", "tuple", "str", "int", "float", "bool")}
_NUMPY = {
    ("multiarray", "_reconstruct"): Name(_array),
    ("multiarray", "scalar"): Name(scalar),
    ("numeric", "_frombuffer"): Name(buffer_array),
}
_ALLOWED: dict[tuple[str, str], Name] = {
    ("numpy", "ndarray"): Name(),
    ("numpy", "dtype"): Name(DtypeRecord),
    ("_codecs", "encode"): Name(_encode),
    ("collections", "OrderedDict"): Name(_ordered),
    ("collections", "defaultdict"): Name(_plain_dict),
}
for _module in ("builtins", "__builtin__"):
    _ALLOWED |= {(_module, name): entry for name, entry in _BUILTIN.items()}
for _module in ("numpy.core", "numpy._core"):
    _ALLOWED |= {(f"{_module}.{part}", name): entry for (part, name), entry in _NUMPY.items()}


def _operations() -> dict[int, Any]:
    """The operations by their code: pickle's, without those that make objects of other kinds."""
    left_out = (
        pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST, pickle.OBJ,
        pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
    )  # fmt: skip
    ours = {
        pickle.REDUCE: _Reader.load_reduce,
        pickle.BUILD: _Reader.load_build,
        pickle.APPEND: _Reader.load_append,
        pickle.APPENDS: _Reader.load_appends,
        pickle.SETITEM: _Reader.load_setitem,
        pickle.SETITEMS: _Reader.load_setitems,
        pickle.DICT: _Reader.load_dict,
        pickle.ADDITEMS: _Reader.load_additems,
        pickle.FROZENSET: _Reader.load_frozenset,
        pickle.BYTEARRAY8: _Reader.load_bytearray8,
    }
    kept: dict[int, Any] = {
        code: read for code, read in pickle._Unpickler.dispatch.items() if bytes([code]) not in left_out
    }
    return kept | {code[0]: read for code, read in ours.items()}


_Reader.dispatch = _operations()
