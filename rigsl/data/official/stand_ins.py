"""What a feature pickle holds while it is read: descriptions of arrays, which nothing in the file can alter.

A pickle makes objects first and sets their state afterwards. numpy trusts that state: a dtype whose flags
are false turns the bytes of an array into pointers. So the reader makes none of numpy's objects. It collects
text, numbers and bytes in the classes of this file, checks them, and makes the arrays itself (`finished`).
"""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

#: bool, integers, floats, bytes and text; "O" is an array of Python objects.
_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|[SU]\d{1,9}|O8?")
_HIGHEST_CHARACTER = 0x10FFFF
_DIMENSIONS = 32
#: Longer integers cannot be printed, or become floats.
_INTEGER_BITS = 64


class Name:
    """A name of the table of allowed names. It can be called if `function` is given, and not be changed."""

    __slots__ = ("function",)
    __hash__ = None  # type: ignore[assignment]  # no key of a dict

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        self.function = function


class DtypeRecord:
    """A dtype: its short name and, from its state, its byte order."""

    __slots__ = ("order", "text")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, text: Any, align: Any = False, copy: Any = True) -> None:
        if type(text) is not str or not _DTYPE.fullmatch(text):
            raise ValueError("not a plain dtype")
        self.text, self.order = text, ""

    def set_state(self, state: Any) -> None:
        """Take the byte order; whatever else numpy would read from the state must be what it writes there."""
        if type(state) is not tuple or len(state) != 8:
            raise ValueError("not the state of a dtype")
        version, order, subarray, names, fields, size, alignment, flags = state
        plain = (subarray, names, fields) == (None, None, None)
        numbers = all(type(value) is int for value in (version, size, alignment, flags))
        if not (plain and numbers and version == 3) or order not in ("<", ">", "=", "|"):
            raise ValueError("not the state of a plain dtype")
        if size not in (-1, self.dtype().itemsize):
            raise ValueError("the size of the dtype is another one than its name says")
        self.order = order

    @property
    def is_object(self) -> bool:
        """Whether an array of it holds Python objects."""
        return self.text[0] == "O"

    def dtype(self) -> np.dtype[Any]:
        """numpy's dtype of this name and order."""
        return np.dtype(self.order.replace("|", "") + self.text)


class ArrayRecord:
    """An array: of plain values, or a list of Python objects with a shape."""

    __slots__ = ("array", "items", "shape")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.array: np.ndarray | None = None  #: of plain values
        self.items: list[Any] | None = None  #: of an array of objects, in C order
        self.shape: tuple[int, ...] = ()

    def set_state(self, state: Any) -> None:
        """Take shape, dtype and data, once."""
        if self.array is not None or self.items is not None:
            raise ValueError("an array has two states")
        if type(state) is not tuple or len(state) != 5 or not isinstance(state[2], DtypeRecord):
            raise ValueError("not the state of an array")
        _, shape, record, fortran, data = state
        self.shape = _checked_shape(shape)
        if not record.is_object:
            self.array = values(record, data).reshape(self.shape, order="F" if fortran else "C")
        elif type(data) is list:
            self.items = data
        else:
            raise ValueError("an array of objects without a list of them")

    def objects(self, made: Callable[[Any], Any]) -> np.ndarray:
        """The array of Python objects, each as `made` returns it."""
        items = self.items
        if items is None or len(items) != math.prod(self.shape):
            raise ValueError("an array has no data, or more or less than its shape says")
        flat = np.empty(len(items), dtype=object)
        for index, item in enumerate(items):
            flat[index] = made(item)
        return flat.reshape(self.shape)


def values(record: Any, data: Any) -> np.ndarray:
    """The read-only values in `data`, one-dimensional; text in `data` is the bytes of Python 2."""
    if not isinstance(record, DtypeRecord) or record.is_object:
        raise ValueError("not a dtype of plain values")
    raw = data.encode("latin1") if type(data) is str else bytes(data) if type(data) is bytearray else data
    if type(raw) is not bytes:
        raise ValueError("the data of an array are not bytes")
    dtype = record.dtype()
    if not dtype.itemsize or len(raw) % dtype.itemsize:
        raise ValueError("the data of an array are not whole values")
    found = np.frombuffer(raw, dtype=dtype)
    if dtype.kind == "U":
        characters = np.frombuffer(raw, dtype=np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if characters.size and characters.max() > _HIGHEST_CHARACTER:
            raise ValueError("text with characters that do not exist")
    if dtype.kind == "b" and found.size and found.view(np.uint8).max() > 1:
        raise ValueError("a bool that is neither false nor true")
    return found


def _checked_shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > _DIMENSIONS:
        raise ValueError("not a shape")
    if not all(type(size) is int and checked_number(size) >= 0 for size in shape):
        raise ValueError("not a shape")
    return shape


def buffer_array(data: Any, record: Any, shape: Any, order: Any, axes: Any = None) -> ArrayRecord:
    """An array of pickle protocol 5; numpy 2.3 and later describe orders other than C and F by `axes`."""
    result = ArrayRecord()
    result.shape = _checked_shape(shape)
    array = values(record, data).reshape(result.shape, order="F" if order == "F" else "C")
    result.array = array if axes is None else array.transpose(_checked_shape(axes))
    return result


def scalar(record: Any, data: Any = b"") -> Any:
    """A numpy scalar of a plain dtype."""
    if isinstance(record, DtypeRecord) and record.text in ("S0", "U0") and data in (b"", ""):
        return np.bytes_() if record.text == "S0" else np.str_()
    found = values(record, data)
    if found.size != 1:
        raise ValueError("a scalar of several values")
    return found[0]


def finished(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """`value` with arrays in place of their records; lists and dicts are changed in place.

    Args:
        value: what the pickle says.
        done: what is finished already, by the id of the record (which it keeps alive).

    Raises:
        ValueError: an array is incomplete, or `value` holds a name.
        RecursionError: it is nested a thousand times.
    """
    kind = type(value)
    if kind in PLAIN or isinstance(value, np.generic):
        return checked_number(value)
    if id(value) in done:
        return done[id(value)][1]
    if kind is list or kind is dict:
        done[id(value)] = value, value
        for key, item in list(enumerate(value) if kind is list else value.items()):
            value[key] = finished(item, done)
        return value
    if kind is OrderedRecord:
        ordered = collections.OrderedDict[Any, Any]()
        done[id(value)] = value, ordered
        for key, item in value.items():
            ordered[key] = finished(item, done)
        return ordered
    if kind is ArrayRecord:
        result = value.array if value.array is not None else value.objects(lambda item: finished(item, done))
    elif kind is tuple:
        result = tuple([finished(item, done) for item in value])
    else:
        raise ValueError("a name stands where a value should be")
    done[id(value)] = value, result
    return result


def checked_number(value: Any) -> Any:
    """`value`, if it is no integer of more than 64 bits.

    Raises:
        ValueError: it is one.
    """
    if type(value) is int and value.bit_length() > _INTEGER_BITS:
        raise ValueError("an integer of more than 64 bits")
    return value


def check_repetitions(value: Any, most: int) -> None:
    """Check how much `value` holds where each part counts as often as it is referred to.

    Args:
        value: what `finished` returned.
        most: bytes of text and arrays, and members of containers.

    Raises:
        ValueError: it is more than `most`, or a container holds itself.
    """
    if _size(value, {}) > most:
        raise ValueError("one value is referred to again and again")


def _size(value: Any, known: dict[int, int | None]) -> int:
    """The size of `value`; `known`: those of containers by their id, None while it is counted."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return int(value.nbytes)
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if not isinstance(value, list | tuple | dict | set | frozenset | np.ndarray):
        return 1
    if id(value) not in known:
        known[id(value)] = None
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        parts = parts.reshape(-1) if isinstance(parts, np.ndarray) else parts
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    size = known[id(value)]
    if size is None:
        raise ValueError("a container holds itself")
    return size


class OrderedRecord(dict[Any, Any]):
    """An OrderedDict, without the attributes that one can have."""

    __slots__ = ()


#: Types without parts that could be records.
PLAIN = frozenset((type(None), bool, int, float, str, bytes, bytearray, set, frozenset))
