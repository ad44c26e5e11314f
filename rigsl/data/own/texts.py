"""Features of the texts of a corpus, with emotions where train is large enough for a fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.open.cross_fitted import CrossFitted, fit_encoders
from rigsl.data.open.cross_fitting import TRAIN
from rigsl.data.open.meld import Transcript
from rigsl.data.open.sentence_encoder import fingerprint
from rigsl.data.open.settings import FineTuning
from rigsl.data.open.transcript_features import make_features
from rigsl.wording import counted

#: Utterances of train from which on fine-tuned columns are made; docs/own-corpus.md has the measurement.
LEAST_TO_FINE_TUNE = 1200
#: Key of the reason why they were not made, in the provenance of a corpus for which they were asked.
NOT_FINE_TUNED = "not_fine_tuned"


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Modalities "l" and "d", how they were made, and the encoders that were fine-tuned for them."""

    arrays: dict[str, np.ndarray]
    provenance: dict[str, Any]
    fitted: CrossFitted | None


def features_of_texts(
    transcript: Transcript,
    encoder: str,
    folder: Path,
    *,
    fine_tuning: FineTuning | None,
    file: Path | None,
    device: str,
    processes: int,
) -> TextFeatures:
    """The features that the encoder makes, with emotions if they are asked for and train is large enough.

    Args:
        transcript: the utterances of all splits.
        encoder: name or folder of the encoder.
        folder: of its files.
        fine_tuning: how it is fine-tuned; None: it is not.
        file: where the fine-tuned encoders will be kept, if anywhere; see `fit_encoders`.
        device: of the encoder.
        processes: encoders that are fine-tuned at the same time.

    Raises:
        UserError: the encoder cannot be fine-tuned in this way.
    """
    refused = "" if fine_tuning is None else too_small(transcript)
    fitted = None
    if fine_tuning is not None and not refused:
        fitted = fit_encoders(
            *(transcript, folder, fingerprint(folder), fine_tuning),
            file=file,
            device=device,
            processes=processes,
        )
    arrays, provenance = make_features(
        transcript, encoder, folder, fitted, device=device, processes=processes
    )
    return TextFeatures(arrays, provenance | ({NOT_FINE_TUNED: refused} if refused else {}), fitted)


def too_small(transcript: Transcript) -> str:
    """Why a corpus has too little to learn from for a fine-tuning; empty: it has enough."""
    size = int(np.diff(transcript.offsets)[transcript.splits == TRAIN].sum())
    if size >= LEAST_TO_FINE_TUNE:
        return ""
    return (
        f"train has {counted(size, 'utterance')}, and fine-tuned encoders help from {LEAST_TO_FINE_TUNE:,} "
        "on; the corpus has the vectors of the encoder as it is"
    )
