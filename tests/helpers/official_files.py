"""Small files in the schemas of the official feature files, as Python 2 and 3, numpy 1 and 2 write them."""

from __future__ import annotations

import pickle

import numpy as np

from rigsl.data.official.files import LAYOUTS

TRAIN = {"IEMOCAP": ["Ses01F_impro01", "Ses02M_script01", "Ses03F_impro02"], "MELD": [0, 1, 59]}
DEV = {"IEMOCAP": ["Ses04M_impro03"], "MELD": [1039, 1040]}
TEST = {"IEMOCAP": ["Ses05M_script02", "Ses05F_impro01"], "MELD": [1154, 1153, 1200]}
LENGTHS = (2, 1, 3, 2, 1, 2, 3, 1)


def official_items(dataset, seed=0):
    """[features file, RoBERTa file] as lists of items; audio as lists of rows, the rest as arrays."""
    rng = np.random.default_rng(seed)
    layout, train, dev, test = LAYOUTS[dataset], TRAIN[dataset], DEV[dataset], TEST[dataset]
    lengths = dict(zip([*train, *dev, *test], LENGTHS, strict=False))

    def per_dialogue(make):
        return {key: make(length) for key, length in lengths.items()}

    def rows(width, dtype=np.float32):
        return per_dialogue(lambda n: rng.normal(size=(n, width)).astype(dtype))

    def labels():
        return per_dialogue(lambda n: rng.integers(0, len(layout.classes), n).tolist())

    def speakers():
        if dataset == "IEMOCAP":
            return per_dialogue(lambda n: ["MF"[i % 2] for i in range(n)])
        return per_dialogue(lambda n: np.eye(9, dtype=int)[[i % 3 for i in range(n)]].tolist())

    sentences = {key: [f"{key} ünd {i}" for i in range(n)] for key, n in lengths.items()}
    audio = {key: list(value) for key, value in rows(layout.widths["audio"], np.float64).items()}
    ids = {key: [f"{key}_{i}" for i in range(n)] for key, n in lengths.items()}
    visual = rows(layout.widths["visual"])
    features = [ids, speakers(), labels(), rows(100), audio, visual, sentences, [*train, *dev], list(test)]
    views = [{key: list(value) for key, value in rows(1024).items()} for _ in range(4)]
    last = [list(train), list(test), list(dev)]
    if dataset == "IEMOCAP":
        return features, [speakers(), labels(), *views, sentences, *last]
    return [*features, {}], [speakers(), labels(), labels(), *views, sentences, *last]


def write_official(folder, dataset, items=None, dump=pickle.dump):
    """Write both files; `dump` is one of the functions below, or pickle.dump."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(LAYOUTS[dataset].files, items or official_items(dataset), strict=True):
        with (folder / name).open("wb") as file:
            dump(tuple(values), file)
    return folder


def dump_python2(value, file):
    """As Python 2 with numpy 1 writes it: protocol 2, byte strings for text and for array data."""
    _Python2Pickler(file, protocol=2).dump(value)


def dump_numpy1(value, file):
    """As Python 3 with numpy 1 writes it."""
    _Numpy1Pickler(file, protocol=4).dump(value)


def dump_protocol5(value, file):
    """As Python 3 with numpy 2 writes it in the newest protocol."""
    pickle.dump(value, file, protocol=5)


class _Numpy1Pickler(pickle._Pickler):
    def save_global(self, obj, name=None):
        name = name or getattr(obj, "__qualname__", obj.__name__)
        module = pickle.whichmodule(obj, name).replace("numpy._core", "numpy.core")
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(f"c{module.replace('builtins', '__builtin__')}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = pickle._Pickler.dispatch | {type(len): save_global, type(dump_python2): save_global}
    dispatch[type] = save_global


class _Python2Pickler(_Numpy1Pickler):
    def save_text(self, obj):
        data = obj if isinstance(obj, bytes) else obj.encode()
        size = len(data)
        short = size < 256
        self.write((b"U" if short else b"T") + size.to_bytes(1 if short else 4, "little") + data)
        self.memoize(obj)

    dispatch = _Numpy1Pickler.dispatch | {str: save_text, bytes: save_text}
