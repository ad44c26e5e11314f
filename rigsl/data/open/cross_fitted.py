"""Cross-fitted encoders of a transcript: fine-tuned, or those of a file, and kept beside the corpus."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import HIDDEN, Corpus
from rigsl.data.open.cross_fitting import TRAIN, cross_fit, fold_of_dialogues, fold_of_rows
from rigsl.data.open.emotions import EMOTIONS
from rigsl.data.open.fine_tuned import UNLEARNED, EmotionEncoders
from rigsl.data.open.meld import Transcript
from rigsl.data.open.settings import FineTuning
from rigsl.files import sha256
from rigsl.interruption import going_on


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """Fine-tuned encoders, and the fold of every dialogue in every cut; int64 [R, n]."""

    encoders: EmotionEncoders
    folds: np.ndarray

    def describe(self, transcript: Transcript) -> dict[str, Any]:
        """What a corpus says of its emotions, and of classes that some encoders learned nothing of."""
        unlearned = _unlearned(transcript, self.folds, self.encoders.settings.folds)
        return self.encoders.describe(self.folds) | ({UNLEARNED: unlearned} if unlearned else {})


def fit_encoders(
    transcript: Transcript,
    folder: Path,
    base: dict[str, str],
    settings: FineTuning,
    *,
    file: Path | None = None,
    device: str = "cpu",
    processes: int = 1,
) -> CrossFitted:
    """Fine-tune the encoder in `folder` for each fold of train. No label of dev and test is read.

    Args:
        transcript: the utterances of all splits.
        folder: of the sentence encoder.
        base: SHA-256 of its weights.
        settings: of the fine-tuning.
        file: where the encoders will be kept. An interrupted call with a file goes on where it was, at most
            an epoch back, until `remove_states` ends it.
        device: where to train.
        processes: folds that are trained at the same time; it changes no number.

    Raises:
        UserError: train cannot be cut into these folds, the encoder cannot be fine-tuned, or a state cannot
            be read or written.
    """
    train = np.repeat(transcript.splits == TRAIN, np.diff(transcript.offsets))
    transcript = dataclasses.replace(transcript, labels=np.where(train, transcript.labels, HIDDEN))
    folds = fold_of_dialogues(transcript, settings)
    with ExitStack() as stack:
        if file:
            stack.enter_context(going_on("the same command goes on where it was"))
        states = _states(file) if file else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        states /= settings.key(base=base, content=_digest(transcript))
        tuned = cross_fit(
            *(transcript, folds, folder, base, settings, states), device=device, processes=processes
        )
    return CrossFitted(tuned, folds)


def encoders_in_file(path: Path, transcript: Transcript, base: dict[str, str], encoder: str) -> CrossFitted:
    """The encoders of an earlier call on the same transcript.

    Raises:
        UserError: the file is missing or damaged, or its encoders adapt another one than `encoder`.
    """
    encoders = EmotionEncoders.load(path)
    encoders.check_base(base, encoder)
    encoders.check_classes(len(transcript.classes), path)
    return CrossFitted(encoders, fold_of_dialogues(transcript, encoders.settings))


def keep_encoders(corpus: Corpus, fitted: CrossFitted, file: Path) -> Corpus:
    """Write the encoders to `file`; the corpus, which knows the file by its SHA-256 then.

    Raises:
        UserError: the file cannot be written.
    """
    fitted.encoders.save(file)
    emotions = corpus.provenance[EMOTIONS] | {"sha256": sha256(file)}
    return dataclasses.replace(corpus, provenance=corpus.provenance | {EMOTIONS: emotions})


def remove_states(file: Path) -> None:
    """Remove what an interrupted `fit_encoders` with this file would go on from, when all is written."""
    shutil.rmtree(_states(file), ignore_errors=True)


def _states(file: Path) -> Path:
    return file.with_name(f".{file.stem}.fine-tuning")


def _digest(transcript: Transcript) -> str:
    """Of all that a fine-tuning learns from."""
    result = hashlib.sha256(json.dumps([transcript.utterances, transcript.classes]).encode())
    for array in (transcript.labels, transcript.offsets, transcript.splits):
        result.update(np.ascontiguousarray(array).tobytes())
    return result.hexdigest()


def _unlearned(transcript: Transcript, folds: np.ndarray, count: int) -> dict[str, int]:
    """Class of train -> the number of encoders that learned from no utterance of it; only where there are."""
    held = fold_of_rows(transcript, folds)  # [R, U]
    train = np.repeat(transcript.splits == TRAIN, np.diff(transcript.offsets))
    known = np.unique(transcript.labels[train])
    missing = {
        transcript.classes[label]: sum(
            not ((transcript.labels == label) & train & (cut != fold)).any()
            for cut in held
            for fold in range(count)
        )
        for label in known
    }
    return {name: number for name, number in missing.items() if number}
