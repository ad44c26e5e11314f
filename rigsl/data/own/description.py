"""What is in a corpus, and where it comes from, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rigsl.data.corpus import HIDDEN, SPLITS, Corpus
from rigsl.data.open.emotions import EMOTIONS, labels_seen
from rigsl.data.open.fine_tuned import UNLEARNED
from rigsl.data.own.features.modalities import FEATURES
from rigsl.data.own.texts import NOT_FINE_TUNED
from rigsl.errors import first_line
from rigsl.modalities import modality_name
from rigsl.wording import DASH, counted, percent


def describe(corpus: Corpus) -> Iterator[str]:
    """The lines that `python -m rigsl describe` prints."""
    utterances, dialogues = counted(len(corpus.labels), "utterance"), counted(len(corpus.splits), "dialogue")
    yield f"{corpus.name}: {utterances} of {dialogues}, {counted(len(corpus.classes), 'class', 'classes')}"
    yield f"content hash {corpus.content_hash()}"
    yield ""
    yield from _sizes(corpus)
    yield ""
    yield from _classes(corpus)
    yield ""
    try:  # the content hash says nothing of the provenance, in which anything may stand
        yield from [*_modalities(corpus), "", *_origin(corpus.provenance)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        yield f"the provenance is damaged ({type(error).__name__}: {first_line(error, length=100)})"


def split_of_rows(corpus: Corpus) -> np.ndarray:
    """Index of the split of every utterance, [U]."""
    return np.repeat(corpus.splits, corpus.lengths)


def speakers_of_dialogues(corpus: Corpus) -> np.ndarray:
    """Number of speakers of every dialogue, int64 [n]."""
    return np.maximum.reduceat(corpus.speakers, corpus.offsets[:-1]) + 1


def class_shares(corpus: Corpus) -> dict[str, np.ndarray]:
    """Split -> share of every class among its labels [classes]; only splits with visible labels."""
    rows = split_of_rows(corpus)
    shares = {}
    for index, split in enumerate(SPLITS):
        labels = corpus.labels[(rows == index) & (corpus.labels != HIDDEN)]
        if labels.size:
            shares[split] = np.bincount(labels, minlength=len(corpus.classes)) / labels.size
    return shares


def prior_shift(corpus: Corpus) -> dict[str, float]:
    """Split -> total variation distance of its classes from those of train."""
    shares = class_shares(corpus)
    return {
        split: float(np.abs(share - shares["train"]).sum() / 2)
        for split, share in shares.items()
        if split != "train" and "train" in shares
    }


def missing_rows(corpus: Corpus) -> dict[str, np.ndarray]:
    """Modality -> whether each utterance lacks some of its features, bool [U]; those that were filled."""
    records = corpus.provenance.get(FEATURES, {})
    return {
        key: corpus.features[key].reshape(len(corpus.labels), -1)[:, -1] != 0
        for key, record in records.items()
        if record["indicator"]
    }


def _sizes(corpus: Corpus) -> Iterator[str]:
    speakers = speakers_of_dialogues(corpus)
    yield "split   dialogues  utterances  length: median  longest  speakers: most"
    for split in SPLITS:
        chosen = corpus.dialogues(split)
        if chosen.size:
            lengths = corpus.lengths[chosen]
            yield (
                f"{split:6s} {len(chosen):10d} {lengths.sum():11d} {np.median(lengths):15g} "
                f"{lengths.max():8d} "
                f"{speakers[chosen].max():15d}"
            )


def _classes(corpus: Corpus) -> Iterator[str]:
    shares = class_shares(corpus)
    width = max(12, *(len(name) for name in corpus.classes))
    yield f"{'class':{width}s} " + " ".join(f"{split:>9s}" for split in SPLITS)
    for index, name in enumerate(corpus.classes):
        cells = (percent(shares[split][index]) if split in shares else DASH for split in SPLITS)
        yield f"{name:{width}s} " + " ".join(f"{cell:>9s}" for cell in cells)
    shifts = prior_shift(corpus)
    cells = (percent(shifts[split]) if split in shifts else DASH for split in SPLITS)
    yield f"{'prior shift':{width}s} " + " ".join(f"{cell:>9s}" for cell in cells)
    yield "prior shift: the share of labels that would have to change for the frequencies of train"


def _modalities(corpus: Corpus) -> Iterator[str]:
    missing = missing_rows(corpus)
    records = corpus.provenance.get(FEATURES, {})
    for key, array in corpus.features.items():
        shape = f"{modality_name(key)}: {list(array.shape[1:])}, {array.dtype}"
        if key in records:
            shape += f", given, standardised on {records[key]['standardised_on']}"
        if key in missing:
            lacking = counted(int(missing[key].sum()), "utterance")
            shape += f"; {lacking} without some of it, which are marked in its last column"
        yield shape
    seen = labels_seen(corpus)
    told = [f"{split}: {seen[split]}" for split in SPLITS if split in seen]
    yield f"labels that the features saw: {'; '.join(told) or 'none that is recorded'}"
    yield from _emotions(corpus)


def _emotions(corpus: Corpus) -> Iterator[str]:
    """What is known of the fine-tuned encoders, or why there are none."""
    if reason := corpus.provenance.get(NOT_FINE_TUNED):
        yield f"no encoder was fine-tuned: {reason}"
    emotions = corpus.provenance.get(EMOTIONS, {})
    if settings := emotions.get("encoders"):
        count = settings["folds"] * settings["repeats"]
        told = ", ".join(f"{name} {value}" for name, value in settings.items())
        yield f"emotions, in delivery: of {counted(count, 'fine-tuned encoder')}; {told}"
        for name, number in emotions.get(UNLEARNED, {}).items():
            yield f"class {name}: {number} of {count} encoders learned from no utterance of it"


def _origin(provenance: dict[str, Any]) -> Iterator[str]:
    for key in ("source", "command"):
        if key in provenance:
            yield f"{key}: {provenance[key]}"
    if splits := provenance.get("splits"):
        seed = f", seed {splits['seed']}" if "seed" in splits else ""
        yield f"splits: {splits['how']}{seed}"
    files = provenance.get("files_sha256") or provenance.get("csv_sha256") or {}
    for record in provenance.get(FEATURES, {}).values():
        files = files | record["files"]
    for name, digest in files.items():
        yield f"file {name}: SHA-256 {digest}"
    if text := provenance.get("text"):
        yield f"text encoder: {text['encoder']}"
    versions = provenance.get("versions", {})
    yield "versions: " + (", ".join(f"{name} {version}" for name, version in versions.items()) or DASH)
    licence = str(provenance.get("licence", DASH))
    yield f"licence: {(licence.splitlines() or [DASH])[0]}"
