"""The open corpus of MELD: sentence vectors of a public encoder, and delivery, from the transcripts alone.

Official RIGSL features come from networks fine-tuned on the labels; these do not, so anyone can rebuild them
bit for bit. The encoder runs in float64: what threads, batches and machines change is far below the float16
that is stored.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.data.open.delivery import LIMIT, delivery_columns, delivery_features, standardised
from rigsl.data.open.meld import CLASSES, HOME, Transcript, csv_paths, read_meld
from rigsl.data.open.sentence_encoder import (
    DEFAULT_ENCODER,
    encode,
    encoder_folder,
    fingerprint,
    load_encoder,
)
from rigsl.errors import UserError
from rigsl.files import sha256

_VERSIONS = ("numpy", "sentence-transformers", "tokenizers", "torch", "transformers")


def build_open_features(
    csv_dir: Path, encoder: str = DEFAULT_ENCODER, out: Path | None = None, device: str = "cpu"
) -> Corpus:
    """Build "MELD-open" from the three CSV files in `csv_dir`, and save it to `out` if given.

    Modality "l" is [U, 1, D]: the encoder's sentence vector times sqrt(D), so that a component has mean
    square 1 like the delivery numbers beside it. `encoder` is a folder or a name of huggingface.co; the
    default one is taken from an installed package, without any network.

    Raises:
        UserError: a CSV file is bad, the encoder is not to be had, or `out` cannot be written.
    """
    if out is not None and not Path(out).parent.is_dir():  # said now, not after minutes of encoding
        raise UserError(f"{out}: its folder does not exist; make it first")
    transcript = read_meld(csv_dir)
    folder = encoder_folder(encoder)
    vectors = text_features(transcript, folder, device)
    delivery, scaling = delivery_features(transcript)
    raw = [text.encode() for text in transcript.utterances]
    corpus = Corpus(
        name="MELD-open",
        features={"l": vectors, "d": delivery.astype(np.float16)},
        labels=transcript.labels,
        speakers=transcript.speakers,
        offsets=transcript.offsets,
        splits=transcript.splits,
        dialogue_ids=transcript.dialogue_ids,
        classes=CLASSES,
        text_default="mean",
        text=np.frombuffer(b"".join(raw), dtype=np.uint8),
        text_offsets=np.cumsum([0, *map(len, raw)], dtype=np.int64),
        provenance={
            "source": f"{HOME}, Poria et al., ACL 2019",
            "licence": "GPL-3.0: text and annotation are MELD's, and the features are derived from them",
            "csv_sha256": {path.name: sha256(path) for path in csv_paths(csv_dir).values()},
            "text": {
                "encoder": Path(encoder).name,
                "weights_sha256": fingerprint(folder),
                "scale": "unit length times the square root of the width",
            },
            "delivery": {"mean_and_std_of_train": scaling, "clipped_to": LIMIT},
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
        },
    )
    corpus.check()
    if out is not None:
        corpus.save(Path(out))
    return corpus


def features_like(
    corpus: Corpus, transcript: Transcript, modals: str, encoder: str | None = None, device: str = "cpu"
) -> dict[str, np.ndarray]:
    """Features of a transcript, made as those of an open corpus were: its encoder, its means and scales.

    Args:
        corpus: one that `build_open_features` made; it says how.
        modals: the modalities to make, of "ld".
        encoder: where the corpus's encoder is, if not under the name that the corpus gives.

    Raises:
        UserError: the corpus does not say how it was made, or its encoder is not to be had.
    """
    try:
        recorded, scaling = corpus.provenance["text"], corpus.provenance["delivery"]["mean_and_std_of_train"]
        name, weights = encoder or str(recorded["encoder"]), recorded["weights_sha256"]
    except (KeyError, TypeError):
        raise UserError(
            f"corpus {corpus.name} does not say how its features were made; build it by build-features"
        ) from None
    made = {}
    if "d" in modals:
        columns = delivery_columns(transcript)
        if columns.keys() != scaling.keys():
            raise UserError(f"corpus {corpus.name} holds other delivery features; build it by build-features")
        made["d"] = standardised(columns, scaling).astype(np.float16)
    if "l" in modals:
        folder = encoder_folder(name)
        if fingerprint(folder) != weights:
            raise UserError(f"encoder '{name}' has other weights than the one of corpus {corpus.name}")
        made["l"] = text_features(transcript, folder, device)
    return made


def text_features(transcript: Transcript, folder: Path, device: str = "cpu") -> np.ndarray:
    """Modality "l" of the utterances, [U, 1, D], by the encoder in `folder`."""
    return encode(transcript.utterances, load_encoder(folder, device))[:, None, :]
