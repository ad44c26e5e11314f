"""The official RIGSL features of IEMOCAP and MELD as a `Corpus`: checked item by item, converted once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.folds import IN_SAMPLE
from rigsl.data.official.files import (
    DOWNLOAD,
    LAYOUTS,
    VIEWS,
    Items,
    missing_files,
    official_paths,
    read_items,
)
from rigsl.data.official.rows import labels_of, rows_of, sentences_of, speakers_of
from rigsl.data.open.emotions import LABELS_SEEN
from rigsl.errors import UserError
from rigsl.files import sha256

#: What is known of the labels that the official text encoders learned from, by dataset.
_LABELS_SEEN = {
    "MELD": {
        "train": f"{IN_SAMPLE}: the text encoder learned from train and dev",
        "dev": f"{IN_SAMPLE}: the text encoder learned from train and dev",
        "test": "the text encoder learned from train and dev",
    },
    "IEMOCAP": {
        "train": f"{IN_SAMPLE}: the text encoder learned from 108 of the 120 dialogues of train and dev",
        "dev": "the text encoder learned from 108 of the 120 dialogues of train and dev",
        "test": "the text encoder learned from 108 of the 120 dialogues of train and dev",
    },
}
CACHE = ".corpus"  #: folder of the converted files, beside the official ones
_VERSION = "2"  #: of the conversion; with another one, files are converted again


def load_official(dataset: str, folder: Path) -> Corpus:
    """The official corpus of `dataset`, from its converted file if the same sources were converted before.

    Dialogues keep the order of the official training and test lists, because the official evaluation cuts
    its batches in this order. Test: the official test list; dev: `validIds` of the RoBERTa file; train: the
    rest of the official training list.

    Raises:
        UserError: the files are missing, or an item is wrong; the sentence names file and item.
    """
    paths = official_paths(dataset, folder)
    if paths is None:
        raise UserError(missing_files(dataset, folder))
    hashes = {path.name: _sha256(path) for path in paths}
    key = hashlib.sha256("".join([_VERSION, *hashes.values()]).encode()).hexdigest()[:16]
    converted = folder / CACHE / f"{dataset.lower()}-{key}.safetensors"
    if converted.is_file():
        try:
            return Corpus.load(converted)
        except UserError:  # a damaged copy is converted again
            pass
    corpus = _corpus(dataset, *read_items(dataset, paths), hashes)
    return _cached(corpus, converted)


def _cached(corpus: Corpus, path: Path) -> Corpus:
    """The corpus, saved and memory-mapped; in memory only if the folder cannot be written."""
    try:
        path.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError:
        return corpus
    try:
        corpus.save(path)
        return Corpus.load(path)
    except UserError:  # a full disk
        return corpus


def _corpus(dataset: str, features: Items, roberta: Items, hashes: dict[str, str]) -> Corpus:
    layout = LAYOUTS[dataset]
    _check_ids(features, roberta)
    train, test = _labelled(features, "trainVid"), _labelled(features, "testVid")
    for key in _sorted({*train} & {*test})[:1]:
        raise features.problem("testVid", f"names dialogue {key!r}, which is also in trainVid")
    dev = _dev(roberta, train, test)
    order = [*train, *test]
    labels = [labels_of(features, key, len(layout.classes)) for key in order]
    lengths = [len(part) for part in labels]
    texts = [sentences_of(features, key, length) for key, length in zip(order, lengths, strict=True)]
    views = np.stack([rows_of(roberta, view, order, lengths, layout.widths[view]) for view in VIEWS], axis=1)
    raw = [text.encode("utf-8", "replace") for part in texts for text in part]
    return Corpus(
        name=f"{dataset}-official",
        features={
            "l": views,  # [U, 4, 1024]
            "a": rows_of(features, "audio", order, lengths, layout.widths["audio"]),
            "v": rows_of(features, "visual", order, lengths, layout.widths["visual"]),
        },
        labels=np.concatenate(labels),
        speakers=np.concatenate(
            [speakers_of(features, key, n, layout.n_speakers) for key, n in zip(order, lengths, strict=True)]
        ),
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        splits=np.array(
            [SPLITS.index("dev" if key in dev else "train") for key in train]
            + [SPLITS.index("test")] * len(test),
            dtype=np.uint8,
        ),
        dialogue_ids=tuple(map(str, order)),
        classes=layout.classes,
        text_default=layout.text_default,
        text=np.frombuffer(b"".join(raw), dtype=np.uint8),
        text_offsets=np.cumsum([0, *map(len, raw)], dtype=np.int64),
        provenance={
            "source": DOWNLOAD,
            "files_sha256": hashes,
            LABELS_SEEN: _LABELS_SEEN.get(dataset, {}),
        },
        n_speakers=layout.n_speakers,
    )


def _check_ids(features: Items, roberta: Items) -> None:
    """Check that every item that is read has the same dialogues."""
    labelled = features.dialogues("labels").keys()
    used = [(features, name) for name in ("ids", "speakers", "audio", "visual", "sentences")]
    for items, name in [*used, *((roberta, view) for view in VIEWS)]:
        dialogues = items.dialogues(name).keys()
        for key in _sorted(labelled - dialogues)[:1]:
            raise items.problem(name, f"lacks dialogue {key!r}, for which {features.path.name} has labels")
        for key in _sorted(dialogues - labelled)[:1]:
            raise items.problem(name, f"has dialogue {key!r}, for which {features.path.name} has no labels")


def _ids(items: Items, name: str) -> list[Any]:
    """A list of dialogues in its own order; a set has no order and is sorted."""
    value = items[name]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple | set | frozenset) or not value:
        kind = "is empty" if hasattr(value, "__len__") and not len(value) else f"is a {type(value).__name__}"
        raise items.problem(name, f"{kind}, not a list of dialogues; download the file again")
    order = [key.item() if isinstance(key, np.generic) else key for key in value]
    if isinstance(value, set | frozenset):
        order = _sorted(order)
    if not all(isinstance(key, str | int) for key in order) or len(set(order)) != len(order):
        raise items.problem(name, "names a dialogue twice, or holds something that is not a name")
    return order


def _labelled(features: Items, name: str) -> list[Any]:
    """Like `_ids`, checked that each dialogue has labels."""
    order = _ids(features, name)
    for key in order:
        if key not in features["labels"]:
            raise features.problem(name, f"names dialogue {key!r}, which has no labels")
    return order


def _dev(roberta: Items, train: Sequence[Any], test: Sequence[Any]) -> set[Any]:
    """The validation dialogues; the last three items of the file are train, TEST, validation."""
    dev = _ids(roberta, "validIds")
    train_ids, test_ids = set(train), set(test)
    for key in dev:
        if key in test_ids:
            raise roberta.problem("validIds", f"names dialogue {key!r}, which is a test dialogue")
        if key not in train_ids:
            raise roberta.problem("validIds", f"names dialogue {key!r}, which is not in trainVid")
    if len(dev) == len(train):
        raise roberta.problem("validIds", "names every dialogue of trainVid, which leaves none to train on")
    return set(dev)


def _sorted(keys: Iterable[Any]) -> list[Any]:
    """Numbers, then names, then what is neither."""

    def rank(key: Any) -> tuple[int, Any]:
        if isinstance(key, int | float | np.number):
            return 0, key
        return (1, key) if isinstance(key, str) else (2, repr(key))

    return sorted(keys, key=rank)


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
