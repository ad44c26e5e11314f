"""The open corpus of MELD: its three CSV files -> "MELD-open", or with emotions "MELD-open-2"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.data.open.cross_fitted import encoders_in_file, fit_encoders, keep_encoders, remove_states
from rigsl.data.open.emotions import WITH_EMOTIONS, WITHOUT_EMOTIONS
from rigsl.data.open.fine_tuned import encoders_path
from rigsl.data.open.meld import SOURCE, Transcript, csv_paths, read_meld
from rigsl.data.open.sentence_encoder import DEFAULT_ENCODER, encoder_folder, fingerprint
from rigsl.data.open.settings import FineTuning
from rigsl.data.open.transcript_features import make_features
from rigsl.errors import UserError
from rigsl.files import check_writable, sha256


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
    kept = None if out is None else encoders_path(out)
    for path in (out, None if fine_tuning is None and encoders is None else kept):
        if path is not None:
            check_writable(Path(path))
    transcript = read_meld(csv_dir)
    folder = encoder_folder(encoder)
    base = fingerprint(folder)
    fitted = None
    if encoders is not None:
        fitted = encoders_in_file(encoders, transcript, base, encoder)
    elif fine_tuning is not None:
        fitted = fit_encoders(
            *(transcript, folder, base, fine_tuning), file=kept, device=device, processes=processes
        )
    features, made = make_features(transcript, encoder, folder, fitted, device=device, processes=processes)
    corpus = corpus_of(
        transcript,
        name=WITHOUT_EMOTIONS if fitted is None else WITH_EMOTIONS,
        features=features,
        provenance={
            "source": f"{SOURCE}, Poria et al., ACL 2019",
            "licence": "GPL-3.0: text and annotation are MELD's, and the features are derived from them",
            "csv_sha256": {path.name: sha256(path) for path in csv_paths(csv_dir).values()},
            **made,
        },
    )
    if out is None or kept is None:
        return corpus
    if fitted is not None:
        corpus = keep_encoders(corpus, fitted, kept)
    corpus.save(Path(out))
    remove_states(kept)
    return corpus


def corpus_of(
    transcript: Transcript, *, name: str, features: dict[str, np.ndarray], provenance: dict[str, Any]
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
        classes=transcript.classes,
        text_default="mean",
        text=np.frombuffer(b"".join(raw), dtype=np.uint8),
        text_offsets=np.cumsum([0, *map(len, raw)], dtype=np.int64),
        provenance=provenance,
    )
    corpus.check()
    return corpus
