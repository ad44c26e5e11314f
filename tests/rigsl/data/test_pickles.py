"""What a pickle may hold, and that what it may not hold never runs."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools

import numpy as np
import pytest

from rigsl.data.official.pickles import load_pickle
from rigsl.errors import UserError
from tests.helpers.official_files import dump_numpy1, dump_protocol5, dump_python2

VALUE = (
    {"a": [1, 2.5, None, True], 3: {"x", "y"}},
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.float64(2.5),
    np.array(["M", "F"]),
    np.array([[1, 2], "x"], dtype=object),
    frozenset([1]),
    collections.OrderedDict(b=1),
    np.arange(300, dtype=">i4"),
    np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
)


def _load(tmp_path, data):
    path = tmp_path / "file.pkl"
    path.write_bytes(data)
    return load_pickle(path)


@pytest.mark.parametrize("dump", [pickle.dump, dump_numpy1, dump_protocol5, dump_python2])
def test_arrays_and_containers_come_back(tmp_path, dump):
    file = io.BytesIO()
    dump(VALUE, file)
    values = _load(tmp_path, file.getvalue())
    for original, read in zip(VALUE, values, strict=True):
        assert type(read) is type(original)
        if isinstance(original, np.ndarray):
            assert read.dtype.newbyteorder("=") == original.dtype.newbyteorder("=")
            assert read.tolist() == original.tolist()
        else:
            assert read == original


def test_the_old_forms_are_the_old_forms():
    """What the other tests rely on: byte strings, and the module names of numpy 1."""
    file = io.BytesIO()
    dump_python2(VALUE, file)
    names = [(op.name, arg) for op, arg, _ in pickletools.genops(file.getvalue())]
    assert ("GLOBAL", "numpy.core.multiarray _reconstruct") in names
    assert ("GLOBAL", "__builtin__ set") in names
    assert not any("UNICODE" in name or name == "STACK_GLOBAL" for name, _ in names)


class _Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "function",
    [os.system, eval, exec, np.load, np.save, pickle.loads, np.ndarray.tofile, type, getattr, object],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_any_other_name_is_refused_and_nothing_runs(tmp_path, function, protocol):
    trace = tmp_path / "ran"
    data = pickle.dumps(({"fine": VALUE}, _Calls(function, f"touch {trace}")), protocol=protocol)
    with pytest.raises(UserError, match=r"file\.pkl: names \S+\.\w+, which a feature file does not need"):
        _load(tmp_path, data)
    assert not trace.exists()


def test_a_name_with_dots_and_a_wrapped_name_are_refused(tmp_path):
    for data in (
        b"\x80\x04\x8c\x08builtins\x8c\x0cset.__init__\x93.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"ccollections\nabc.sys\n.",
    ):
        with pytest.raises(UserError, match="refused before anything in it ran"):
            _load(tmp_path, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html>",
        pickle.dumps(VALUE)[:-40],
        pickle.dumps(VALUE)[:200],
        b"\x80\x02c_codecs\nencode\nU\x01xU\x03zip\x86R.",  # another codec
        b"\x80\x02cnumpy\ndtype\n]\x85R.",  # a dtype with fields
        b"\x80\x02P1\n.",
    ],
)
def test_a_damaged_file_is_a_sentence(tmp_path, data):
    with pytest.raises(UserError, match=r"file\.pkl: is truncated or not a pickle"):
        _load(tmp_path, data)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"none\.pkl: cannot be read"):
        load_pickle(tmp_path / "none.pkl")
