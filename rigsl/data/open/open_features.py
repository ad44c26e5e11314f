"""The open corpus of MELD: sentence vectors, delivery and, on request, emotions, from the transcripts alone.

Encoders run in float64, where the differences between numbers of threads, batch sizes and machines are far
below the precision of the float16 that is stored: from the same encoders, anyone can rebuild the corpus bit
for bit. Emotions are log-probabilities of fine-tuned encoders (`rigsl.data.open.cross_fitting`). They are
further columns of the delivery features; the fine-tuned encoders are in a file beside the corpus.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.data.folds import NO_FOLD
from rigsl.data.open.cross_fitting import cross_fit, emotion_columns, fold_of_dialogues
from rigsl.data.open.delivery import delivery_columns, standardised, train_scaling
from rigsl.data.open.emotions import EMOTIONS, WITH_EMOTIONS, WITHOUT_EMOTIONS
from rigsl.data.open.fine_tuned import (
    EmotionEncoders,
    FineTuning,
    encoders_of,
    encoders_path,
)
from rigsl.data.open.meld import CLASSES, SOURCE, Transcript, csv_paths, read_meld
from rigsl.data.open.sentence_encoder import (
    DEFAULT_ENCODER,
    encode,
    encoder_folder,
    fingerprint,
    load_encoder,
)
from rigsl.data.scaling import LIMIT
from rigsl.errors import UserError
from rigsl.files import sha256

_VERSIONS = ("numpy", "sentence-transformers", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class _Emotions:
    """Fine-tuned encoders, the fold of every dialogue, and the folder of the states of their training."""

    encoders: EmotionEncoders
    folds: np.ndarray
    states: Path | None = None


def build_open_features(
    csv_dir: Path,
    encoder: str = DEFAULT_ENCODER,
    out: Path | None = None,
    device: str = "cpu",
    *,
    fine_tuning: FineTuning | None = None,
    encoders: Path | None = None,
    processes: int = 1,
) -> Corpus:
    """Build the open corpus from the three CSV files in `csv_dir`, and save it to `out` if given.

    Modality "l" is [U, 1, D]: the encoder's unit sentence vector times sqrt(D), so that its components have
    mean square 1, like the standardised delivery features.

    Args:
        csv_dir: folder of MELD's CSV files.
        encoder: a folder or a name on huggingface.co; the default encoder comes from an installed package,
            without network access.
        out: the file to write. Fine-tuned encoders are written beside it, see `encoders_path`.
        device: where sentence vectors are computed and encoders fine-tuned.
        fine_tuning: fine-tune the encoder in this way, and append the emotions; None: no emotions, unless
            `encoders` are given. An interrupted call with an `out` goes on where it was.
        encoders: file of fine-tuned encoders to use in place of new ones.
        processes: folds that are computed at the same time; it changes no number.

    Raises:
        UserError: a CSV file is invalid, the encoder is not available or not the one that `encoders` adapt,
            or `out` cannot be written.
    """
    if out is not None and not Path(out).parent.is_dir():  # fails now, not after minutes of encoding
        raise UserError(f"{out}: its folder does not exist; make it first")
    transcript = read_meld(csv_dir)
    folder = encoder_folder(encoder)
    base = fingerprint(folder)
    sources = {path.name: sha256(path) for path in csv_paths(csv_dir).values()}
    emotions = None
    if encoders is not None:
        emotions = _emotions_of(encoders, transcript, base, encoder)
    elif fine_tuning is not None:
        states = _states_folder(out, fine_tuning.key(base=base, csv=sources))
        folds = fold_of_dialogues(transcript, fine_tuning)
        tuned = cross_fit(
            *(transcript, folds, folder, base, fine_tuning, states), device=device, processes=processes
        )
        emotions = _Emotions(tuned, folds, states)
    vectors = text_features(transcript, folder, device)
    columns = delivery_columns(transcript)
    if emotions is not None:
        columns |= emotion_columns(emotions.encoders, transcript, folder, emotions.folds, processes=processes)
    scaling = train_scaling(columns, transcript)
    provenance = {
        "source": f"{SOURCE}, Poria et al., ACL 2019",
        "licence": "GPL-3.0: text and annotation are MELD's, and the features are derived from them",
        "csv_sha256": sources,
        **how_made(encoder, base, scaling),
    }
    if emotions is not None:
        provenance[EMOTIONS] = emotions.encoders.describe(emotions.folds)
        if out is not None:
            emotions.encoders.save(encoders_path(out))
            provenance[EMOTIONS] |= {"sha256": sha256(encoders_path(out))}
    corpus = corpus_of(
        transcript,
        name=WITHOUT_EMOTIONS if emotions is None else WITH_EMOTIONS,
        features={"l": vectors, "d": standardised(columns, scaling).astype(np.float16)},
        classes=CLASSES,
        provenance=provenance,
    )
    if out is not None:
        corpus.save(Path(out))
    if emotions is not None and emotions.states is not None:
        shutil.rmtree(emotions.states.parent)
    return corpus


def how_made(encoder: str, base: dict[str, str], scaling: dict[str, list[float]]) -> dict[str, Any]:
    """How the features of a transcript were made, for the provenance; `features_like` reads it.

    Args:
        encoder: its name, which is kept, or its folder, of which the name is.
        base: hashes of its weights, as of `fingerprint`.
        scaling: of the delivery features, as of `train_scaling`.
    """
    return {
        "text": {
            "encoder": Path(encoder).name if Path(encoder).is_dir() else encoder,
            "weights_sha256": base,
            "scale": "unit length times the square root of the width",
        },
        "delivery": {"mean_and_std_of_train": scaling, "clipped_to": LIMIT},
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
    }


def corpus_of(
    transcript: Transcript,
    *,
    name: str,
    features: dict[str, np.ndarray],
    classes: tuple[str, ...],
    provenance: dict[str, Any],
) -> Corpus:
    """The checked corpus of a transcript with its features.

    Raises:
        UserError: its parts do not fit together, or a feature is NaN or infinite.
    """
    raw = [text.encode() for text in transcript.utterances]
    corpus = Corpus(
        name=name,
        features=features,
        labels=transcript.labels,
        speakers=transcript.speakers,
        offsets=transcript.offsets,
        splits=transcript.splits,
        dialogue_ids=transcript.dialogue_ids,
        classes=classes,
        text_default="mean",
        text=np.frombuffer(b"".join(raw), dtype=np.uint8),
        text_offsets=np.cumsum([0, *map(len, raw)], dtype=np.int64),
        provenance=provenance,
    )
    corpus.check()
    return corpus


def _emotions_of(path: Path, transcript: Transcript, base: dict[str, str], encoder: str) -> _Emotions:
    """Those of the encoders in a file.

    Raises:
        UserError: the file is missing or damaged, or its encoders adapt another one than `encoder`.
    """
    encoders = EmotionEncoders.load(path)
    encoders.check_base(base, encoder)
    return _Emotions(encoders, fold_of_dialogues(transcript, encoders.settings))


def features_like(
    corpus: Corpus,
    transcript: Transcript,
    modals: Sequence[str],
    encoder: str | None = None,
    device: str = "cpu",
    *,
    encoders: Path | None = None,
) -> dict[str, np.ndarray]:
    """Features of a transcript, made like those of an open corpus: the same encoders, means and scales.

    Args:
        corpus: a corpus of `build_open_features`; its provenance says how it was made.
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
            f"corpus {corpus.name} does not say how its features were made; build it with build-features"
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
            columns |= emotion_columns(tuned, transcript, folder, nobody)
        if columns.keys() != scaling.keys():
            raise UserError(
                f"corpus {corpus.name} holds other delivery features; build it with build-features"
            )
        features["d"] = standardised(columns, scaling).astype(np.float16)
    if "l" in modals and folder is not None:
        features["l"] = text_features(transcript, folder, device)
    return features


def text_features(transcript: Transcript, folder: Path, device: str = "cpu") -> np.ndarray:
    """Modality "l" of the utterances, [U, 1, D], made with the encoder in `folder`."""
    return encode(transcript.utterances, load_encoder(folder, device))[:, None, :]


def _states_folder(out: Path | None, key: str) -> Path:
    """The folder of an unfinished fine-tuning, named by what it learns from; temporary without `out`."""
    if out is None:
        return Path(tempfile.mkdtemp()) / key
    return Path(out).with_name(f".{Path(out).stem}.fine-tuning") / key
