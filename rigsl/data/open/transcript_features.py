"""Features of a transcript: sentence vectors, delivery and, with fine-tuned encoders, emotions.

Encoders run in float64, where the differences between numbers of threads, batch sizes and machines are far
below the precision of the float16 that is stored: from the same encoders, anyone can rebuild a corpus bit for
bit. Emotions are log-probabilities of fine-tuned encoders (`rigsl.data.open.cross_fitting`). They are further
columns of the delivery features.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.data.folds import NO_FOLD
from rigsl.data.open.cross_fitted import CrossFitted
from rigsl.data.open.cross_fitting import emotion_columns
from rigsl.data.open.delivery import delivery_columns, standardised, train_scaling
from rigsl.data.open.emotions import EMOTIONS
from rigsl.data.open.fine_tuned import encoders_of
from rigsl.data.open.meld import Transcript
from rigsl.data.open.sentence_encoder import encode, encoder_folder, fingerprint, load_encoder
from rigsl.data.scaling import LIMIT
from rigsl.errors import UserError

_VERSIONS = ("numpy", "sentence-transformers", "tokenizers", "torch", "transformers")


def make_features(
    transcript: Transcript,
    encoder: str,
    folder: Path,
    fitted: CrossFitted | None,
    *,
    device: str = "cpu",
    processes: int = 1,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Modalities "l" and "d" of the utterances, and how they were made, which `features_like` reads.

    Modality "l" is [U, 1, D]: the encoder's unit sentence vector times sqrt(D), so that its components have
    mean square 1, like the standardised delivery features "d", [U, columns]. Both are float16.

    Args:
        transcript: the utterances.
        encoder: name of the encoder, which is kept, or its folder, of which the name is.
        folder: of its files.
        fitted: fine-tuned encoders, for emotions; None: no emotions.
        device: where sentence vectors are computed.
        processes: fine-tuned encoders that compute at the same time; it changes no number.
    """
    columns = delivery_columns(transcript)
    if fitted is not None:
        columns |= emotion_columns(fitted.encoders, transcript, folder, fitted.folds, processes=processes)
    scaling = train_scaling(columns, transcript)
    provenance: dict[str, Any] = {
        "text": {
            "encoder": Path(encoder).name if Path(encoder).is_dir() else encoder,
            "weights_sha256": fingerprint(folder),
            "scale": "unit length times the square root of the width",
        },
        "delivery": {"mean_and_std_of_train": scaling, "clipped_to": LIMIT},
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
    }
    if fitted is not None:
        provenance[EMOTIONS] = fitted.describe(transcript)
    delivery = standardised(columns, scaling).astype(np.float16)
    return {"l": text_features(transcript, folder, device), "d": delivery}, provenance


def features_like(
    corpus: Corpus,
    transcript: Transcript,
    modals: Sequence[str],
    encoder: str | None = None,
    device: str = "cpu",
    *,
    encoders: Path | None = None,
) -> dict[str, np.ndarray]:
    """Features of a transcript, made like those of a corpus: the same encoders, means and scales.

    Args:
        corpus: its features are those of `make_features`; its provenance says how they were made.
        transcript: the utterances.
        modals: the keys of the modalities to make, out of "l" and "d".
        encoder: where the corpus's encoder is, if not under the name in its provenance.
        device: where sentence vectors are computed.
        encoders: file of the fine-tuned encoders, for a corpus with emotions.

    Raises:
        UserError: the corpus does not say how it was made, or one of its encoders is not available.
    """
    try:
        recorded, scaling = corpus.provenance["text"], corpus.provenance["delivery"]["mean_and_std_of_train"]
        name, weights = encoder or str(recorded["encoder"]), recorded["weights_sha256"]
        emotions = corpus.provenance.get(EMOTIONS)
    except (KeyError, TypeError):
        raise UserError(
            f"corpus {corpus.name} does not say how its features were made; build it with build-features or "
            "build-corpus"
        ) from None
    folder = None
    if "l" in modals or ("d" in modals and emotions):
        folder = encoder_folder(name)
        if fingerprint(folder) != weights:
            raise UserError(
                f"encoder '{name}' has other weights than that of corpus {corpus.name}; give the folder of "
                "the corpus's encoder with --encoder DIR"
            )
    features = {}
    if "d" in modals:
        columns = delivery_columns(transcript)
        if emotions and folder is not None:
            if encoders is None:
                raise UserError(f"corpus {corpus.name} needs the file of its fine-tuned encoders")
            tuned = encoders_of(corpus, encoders)
            nobody = np.full((tuned.settings.repeats, len(transcript.splits)), NO_FOLD)
            of_corpus = dataclasses.replace(transcript, classes=corpus.classes)
            columns |= emotion_columns(tuned, of_corpus, folder, nobody)
        if columns.keys() != scaling.keys():
            raise UserError(f"corpus {corpus.name} holds other delivery features; build it again")
        features["d"] = standardised(columns, scaling).astype(np.float16)
    if "l" in modals and folder is not None:
        features["l"] = text_features(transcript, folder, device)
    return features


def text_features(transcript: Transcript, folder: Path, device: str = "cpu") -> np.ndarray:
    """Modality "l" of the utterances, [U, 1, D], made with the encoder in `folder`."""
    return encode(transcript.utterances, load_encoder(folder, device))[:, None, :]
