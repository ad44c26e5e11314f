"""The open corpus of MELD: sentence vectors of a public encoder, and delivery, from the transcripts alone.

The official RIGSL features come from networks that were fine-tuned on the labels. These do not, so anyone can
rebuild them bit for bit: the encoder runs in float64, where the differences between numbers of threads, batch
sizes and machines are far below the precision of the float16 that is stored.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.data.open.delivery import LIMIT, delivery_columns, delivery_features, standardised
from rigsl.data.open.meld import CLASSES, SOURCE, Transcript, csv_paths, read_meld
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

    Modality "l" is [U, 1, D]: the encoder's unit sentence vector times sqrt(D), so that its components have
    mean square 1, like the standardised delivery features. `encoder` is a folder or a name on huggingface.co;
    the default encoder comes from an installed package, without network access.

    Raises:
        UserError: a CSV file is invalid, the encoder is not available, or `out` cannot be written.
    """
    if out is not None and not Path(out).parent.is_dir():  # fails now, not after minutes of encoding
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
            "source": f"{SOURCE}, Poria et al., ACL 2019",
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
    """Features of a transcript, made like those of an open corpus: the same encoder, means and scales.

    Args:
        corpus: a corpus of `build_open_features`; its provenance says how it was made.
        modals: the modalities to make, out of "ld".
        encoder: where the corpus's encoder is, if not under the name in its provenance.

    Raises:
        UserError: the corpus does not say how it was made, or its encoder is not available.
    """
    try:
        recorded, scaling = corpus.provenance["text"], corpus.provenance["delivery"]["mean_and_std_of_train"]
        name, weights = encoder or str(recorded["encoder"]), recorded["weights_sha256"]
    except (KeyError, TypeError):
        raise UserError(
            f"corpus {corpus.name} does not say how its features were made; build it with build-features"
        ) from None
    features = {}
    if "d" in modals:
        columns = delivery_columns(transcript)
        if columns.keys() != scaling.keys():
            raise UserError(
                f"corpus {corpus.name} holds other delivery features; build it with build-features"
            )
        features["d"] = standardised(columns, scaling).astype(np.float16)
    if "l" in modals:
        folder = encoder_folder(name)
        if fingerprint(folder) != weights:
            raise UserError(
                f"encoder '{name}' has other weights than that of corpus {corpus.name}; give the folder of "
                "the corpus's encoder with --encoder DIR"
            )
        features["l"] = text_features(transcript, folder, device)
    return features


def text_features(transcript: Transcript, folder: Path, device: str = "cpu") -> np.ndarray:
    """Modality "l" of the utterances, [U, 1, D], made with the encoder in `folder`."""
    return encode(transcript.utterances, load_encoder(folder, device))[:, None, :]
