"""What a pickle may hold, and that what it may not hold never runs."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rigsl.data.official.pickles import load_pickle
from rigsl.errors import UserError
from tests.helpers.official_files import dump_numpy1, dump_protocol5, dump_python2

ROOT = Path(__file__).parents[3]
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


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def dtype(name, state=None):
    """The opcodes of a dtype; `state` is a tuple, pickled as it is."""
    made = b"cnumpy\ndtype\n" + text(name) + b"\x89\x88\x87R"
    return made if state is None else made + pickle.dumps(state, 2)[2:-1] + b"b"


def array(count, made_dtype, data=b"A" * 8, opcodes=b""):
    """The opcodes of an array of `count` values."""
    record = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    shape = b"J" + struct.pack("<i", count) + b"\x85"
    state = b"(K\x01" + shape + made_dtype + b"\x89C" + bytes([len(data)]) + data + b"tb"
    return record + state + opcodes + b"."


def plain(name, **other):
    """The opcodes of a dtype with a state as numpy writes it, but for the values of `other`."""
    state = {"version": 3, "order": "<", "subarray": None, "names": None, "fields": None, "size": -1}
    return dtype(name, tuple((state | {"alignment": -1, "flags": 0} | other).values()))


def colliding_keys(count):
    """The opcodes of entries of a dict: tuples of two integers, all of one hash, each with the value None."""
    mask, first, second, start = 2**64 - 1, 11400714785074694791, 14029467366897019727, 2870177450012600261
    number = 0
    while count:  # the reverse of the hash of a tuple (Objects/tupleobject.c): each number has its partner
        number += 1
        mixed = (start + number * second) & mask
        mixed = ((mixed << 31 | mixed >> 33) & mask) * first & mask
        partner = (12345 - mixed) * pow(second, -1, 2**64) & mask
        if partner < 2**61 - 1:  # the hash of such an integer is itself
            count -= 1
            yield b"J" + struct.pack("<i", number) + b"\x8a\x08" + struct.pack("<q", partner) + b"\x86N"


ATTACKS = {
    "objects without the flags of a dtype, and bytes that become pointers": array(1, plain("O8")),
    "a scalar of them": b"cnumpy.core.multiarray\nscalar\n" + plain("O8") + b"C\x08AAAAAAAA\x86R.",
    "a dtype whose state has fields": plain("f4", names=("a",), fields={"a": (1, 2)}) + b".",
    "a dtype whose state gives another size": array(1, plain("S8", size=2**31 - 1)),
    "a dtype in which another one lies": plain("f8", subarray=("f8", (3,))) + b".",
    "a dtype as the value": plain("f8") + b".",
    "an array that is called": b"cnumpy\nndarray\nK\x03\x85R.",
    "an array with a buffer that is called": b"cnumpy\nndarray\n(K\x01\x85" + dtype("O8") + b"C\x01AtR.",
    "more values than data": array(2**28, plain("f8")),
    "a negative size": array(-1, plain("f8")),
    "a second state": array(1, plain("f8"), opcodes=b"N\x85b"),
    "an array without data": b"cnumpy.core.multiarray\n_reconstruct\n)R.",
    "a character that does not exist": array(2, plain("U1")),
    "a bool that is 65": array(8, plain("b1")),
    "other defaults for a function": b"c_codecs\nencode\nN}X\x0c\0\0\0__defaults__K\x01\x85s\x86b.",
    "a name in place of a value": b"]c_codecs\nencode\na.",
    "a name as a key": b"}c_codecs\nencode\nNs.",
    "a key that is nested a million times": b"})" + b"\x85" * 1_000_000 + b"Ns.",
    "a value that is nested a million times": b")" + b"\x85" * 1_000_000 + b".",
    "a place in the memo that takes gigabytes": b"Nr\xff\xff\xff\x7f0.",
    "text that is longer than the file": b"\x8d" + struct.pack("<Q", 2**34) + b"x.",
    "bytes that are longer than the file": b"\x96" + struct.pack("<Q", 2**34) + b"x.",
    "bytes that are only zeros": b"cbuiltins\nbytes\n\x8a\x08" + struct.pack("<Q", 2**34) + b"\x85R.",
    "an integer that cannot be printed": b"I0x" + b"f" * 5000 + b"\n.",
}
AGAIN = b"h\x01h\x00\x85Ra"  # a call of the function in place 1 of the memo with the value in place 0
LONG = text("a" * 1_000_000) + b"q\x000"
ATTACKS |= {
    "a text that is made into bytes again and again": LONG
    + b"c_codecs\nencode\nq\x010]"
    + AGAIN * 10**5
    + b".",
    "a list that is made into a set again and again": b"(" + b"N" * 30_000 + b"lq\x000"
    b"cbuiltins\nset\nq\x010]" + AGAIN * 100_000 + b".",
    "a shape of numbers of eight million bits": b"\x8b"
    + struct.pack("<i", 10**6)
    + b"\x7f" * 10**6
    + b"q\x000"
    b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01(" + b"h\x00" * 32 + b"t" + dtype("O8") + b"\x89]tb.",
    "a text that stands in a list a million times": LONG + b"(" + b"h\x00" * 10**6 + b"l.",
    "lists of lists of one list": b"]" + b"".join(b"q\x00(" + b"h\x00" * 10 + b"l" for _ in range(30)) + b".",
    "a list that holds itself": b"]q\x00h\x00h\x00a0h\x00a.",
    "keys whose hashes are equal": b"}(" + b"".join(colliding_keys(10_000)) + b"u.",
}


#: Read a pickle and touch all of it; the sentence goes to stdout.
READ = """
import pathlib, sys
from rigsl.data.official.pickles import load_pickle
from rigsl.errors import UserError
try:
    print("a value", repr(load_pickle(pathlib.Path(sys.argv[1]))))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_on_the_memory_is_a_sentence(tmp_path, attack):
    """In a process of its own with little memory, since what is tested here used to end it."""
    path = tmp_path / "file.pkl"
    path.write_bytes(b"\x80\x05" + attack)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith(f"{path}: is truncated or not a pickle")
    assert done.stdout.count("\n") == 1
    assert not done.stderr


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_pickles_are_values_or_sentences(tmp_path, seed):
    """A short form of tests/soak/test_pickle_fuzz.py."""
    read_mutated(tmp_path, seed, 500)


def read_mutated(folder, seed, count):
    """Read `count` mutated pickles in a process of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.pickle_fuzz", str(folder), str(seed), str(count)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    values, sentences = (int(word) for word in done.stdout.split() if word.isdigit())
    assert values + sentences == count
    assert min(values, sentences) > count / 20


def test_a_name_is_shown_without_control_characters(tmp_path):
    name = "os\n\x1b[31m"
    with pytest.raises(UserError, match=r"names os\?\?\?31m\.system, which") as refused:
        _load(tmp_path, b"\x80\x04" + text(name) + text("system") + b"\x93.")
    assert refused.value.args[0].isprintable()


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"none\.pkl: cannot be read"):
        load_pickle(tmp_path / "none.pkl")
