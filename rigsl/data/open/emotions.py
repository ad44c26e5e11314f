"""The emotions of an open corpus: log-probabilities of fine-tuned encoders, among its delivery features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rigsl.data.corpus import SPLITS, Corpus

#: Key of the provenance of a corpus with emotions.
EMOTIONS = "emotions"
#: Key of the provenance, of the emotions or of all features: split -> how labels reached them, in words.
LABELS_SEEN = "labels_seen"
#: Names of the corpora without emotions, and with them.
WITHOUT_EMOTIONS, WITH_EMOTIONS = "MELD-open", "MELD-open-2"
#: What the names of the columns begin with, before the name of a class.
PREFIX = "log_p_"


def has_emotions(corpus: Corpus) -> bool:
    """Whether encoders that were fine-tuned on labels made some of the delivery features."""
    return EMOTIONS in corpus.provenance


def labels_seen(corpus: Corpus) -> dict[str, str]:
    """Split -> how labels reached its features, in words; empty if none did, or nobody recorded it.

    What the makers of features say comes before what is known of emotions, which are out of fold.
    """
    emotions = corpus.provenance.get(EMOTIONS)
    records = [part.get(LABELS_SEEN) for part in (emotions, corpus.provenance) if isinstance(part, dict)]
    told = {split: how for record in records if isinstance(record, dict) for split, how in record.items()}
    return {split: " ".join(str(how).split()) for split, how in told.items() if split in SPLITS}


def without_emotions(corpus: Corpus) -> Corpus:
    """The same corpus before it had emotions, with the same content hash: MELD-open 1 of MELD-open 2."""
    provenance = {key: value for key, value in corpus.provenance.items() if key != EMOTIONS}
    delivery = provenance["delivery"]
    scaling = delivery["mean_and_std_of_train"]
    kept = {name: value for name, value in scaling.items() if not name.startswith(PREFIX)}
    provenance["delivery"] = delivery | {"mean_and_std_of_train": kept}
    features = corpus.features | {"d": corpus.features["d"][:, : len(kept)]}  # emotions come last
    name = WITHOUT_EMOTIONS if corpus.name == WITH_EMOTIONS else corpus.name
    return dataclasses.replace(corpus, name=name, features=features, provenance=provenance)


def for_model(corpus: Corpus, widths: Mapping[str, int]) -> Corpus:
    """`corpus`, or the same without emotions for a model that was trained before it had them.

    Args:
        widths: modality letter -> the feature width that the model reads.
    """
    if has_emotions(corpus) and widths.get("d", 0) != corpus.schema.widths["d"]:
        earlier = without_emotions(corpus)
        return earlier if widths.get("d") == earlier.schema.widths["d"] else corpus
    return corpus
