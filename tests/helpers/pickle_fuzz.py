"""Mutated pickles, read one after another: ``python -m tests.helpers.pickle_fuzz FOLDER SEED COUNT``.

To be run as a process of its own, which a crash may end. It ends with code 0 if every pickle gave a value or
one sentence, and prints how many gave which; it ends with another code and the number of the pickle if
anything was called, written or imported. ``FOLDER/case.pkl`` is the pickle that was read last.
"""

from __future__ import annotations

import collections
import faulthandler
import io
import pickle
import random
import resource
import struct
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from rigsl.data.official.pickles import load_pickle
from rigsl.errors import UserError
from tests.helpers.official_files import dump_numpy1, dump_protocol5, dump_python2

#: Address space in bytes: what a number in a file could make a reader allocate ends here.
MEMORY = 8 << 30
#: Everything that the reader knows.
VALUES = (
    ["a", 1, 2.5, None, True, b"bytes", bytearray(b"b"), -(2**40)],
    {"x": {"y"}, 3: frozenset([1, "z"]), 2.5: (1, (2, []))},
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.array(["M", "F"]),
    np.array([b"M", b"FF"]),
    np.array([[1, 2], "x", None], dtype=object),
    np.array([True, False]),
    np.float64(2.5),
    np.str_("text"),
    collections.OrderedDict(b=1),
    collections.defaultdict(list, {"a": [1]}),
    np.arange(5, dtype=">i4"),
    np.arange(8).reshape(2, 2, 2).transpose(1, 0, 2),
)
#: The flags of a dtype of objects (63). numpy believes other ones, and then takes bytes for pointers.
FLAGS = b"K?"


def bases() -> list[bytes]:
    """The pickles that are mutated: each value and all of them, as each Python and numpy writes them."""
    dumps = (
        pickle.dump,
        dump_numpy1,
        dump_protocol5,
        dump_python2,
        lambda v, f: pickle.dump(v, f, protocol=0),
    )
    result = []
    for value in (*VALUES, VALUES):
        for dump in dumps:
            file = io.BytesIO()
            dump(value, file)
            result.append(file.getvalue())
    return result


def mutated(rng: random.Random, pickles: list[bytes]) -> bytes:
    """One of `pickles` with one to six changes."""
    data = bytearray(rng.choice(pickles))
    opcodes = [getattr(pickle, name)[0] for name in _OPCODES]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at, kind = rng.randrange(len(data) + 1), rng.randrange(8)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[at : at + 1] = bytes([rng.choice(opcodes)])
        elif kind == 2:
            data[at:at] = bytes([rng.choice(opcodes)])
        elif kind == 3:
            del data[at : at + rng.randint(1, 12)]
        elif kind == 4:
            data[at:at] = data[at : at + rng.randint(1, 40)]
        elif kind == 5:  # a piece of another one
            other = rng.choice(pickles)
            start = rng.randrange(len(other))
            data[at:at] = other[start : start + rng.randint(1, 60)]
        elif kind == 6:  # a number that somebody trusts
            data[at : at + 4] = struct.pack(
                "<I", rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32)))
            )
        else:  # the flags of a dtype
            found = data.find(FLAGS)
            if found >= 0:
                data[found + 1] = rng.choice((0, 1, 4, 62))
    return bytes(data)


_OPCODES = sorted(
    name
    for name, value in vars(pickle).items()
    if name.isupper() and isinstance(value, bytes) and len(value) == 1
)


def use(value: object, depth: int = 0) -> None:
    """Touch all of a value, as a reader of it would: broken memory shows here."""
    if depth > 20:
        return
    if isinstance(value, np.ndarray):
        value.copy().tolist()
        value = value.tolist() if value.dtype == object else None
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for item in list(value)[:100]:
            use(item, depth + 1)
    elif not isinstance(value, list):
        hash(str(value)) if not isinstance(value, bytearray) else len(value)


class Watch:
    """Notes every call out of Python that could do something, while it is on."""

    HARMLESS = (
        "builtins.id",
        "object.__getattr__",
        "pickle.find_class",
        "sys._getframe",
        "code.__new__",
        "open",
    )

    def __init__(self) -> None:
        self.on, self.seen = False, list[str]()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if self.on and (event not in self.HARMLESS or (event == "open" and arguments[1] not in ("r", "rb"))):
            self.seen.append(f"{event} {arguments!r:.80}")


def main(folder: Path, seed: int, count: int) -> int:
    """Read `count` pickles; returns the exit code."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    rng, pickles, path, results = random.Random(seed), bases(), folder / "case.pkl", Counter[str]()
    for data in pickles:  # what Python and numpy import when they are first used
        path.write_bytes(data)
        use(load_pickle(path))
    b"".decode("raw_unicode_escape")
    watch = Watch()
    for number in range(count):
        data = mutated(rng, pickles)
        path.write_bytes(data)
        watch.on = True
        try:
            use(load_pickle(path))
            results["value"] += 1
        except UserError as error:
            results["sentence"] += 1
            sentence = str(error)
            if (
                not sentence.startswith(f"{path}: ")
                or "\n" in sentence
                or len(sentence) > len(str(path)) + 300
            ):
                print(f"pickle {number}: not one sentence: {sentence!r}")
                return 1
        watch.on = False
        if watch.seen:
            print(f"pickle {number}: {watch.seen}")
            return 1
    print(f"{results['value']} values, {results['sentence']} sentences")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
