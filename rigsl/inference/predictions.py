"""Predictions as a table: a row for each utterance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from rigsl.files import replacing
from rigsl.training.evaluation import Evaluation


def predictions_table(corpus: Corpus, evaluation: Evaluation) -> pd.DataFrame:
    """The columns dialogue, utterance, speaker, text, emotion, predicted, and p(class) for every class."""
    dialogue = np.searchsorted(corpus.offsets, evaluation.rows, side="right") - 1
    return pd.DataFrame(
        {
            "dialogue": [corpus.dialogue_ids[index] for index in dialogue],
            "utterance": evaluation.rows - corpus.offsets[dialogue],
            "speaker": corpus.speakers[evaluation.rows],
            "text": [corpus.utterance(int(row)) for row in evaluation.rows],
            "emotion": [corpus.classes[label] for label in evaluation.labels],
        }
        | prediction_columns(evaluation.log_prob, corpus.classes)
    )


def prediction_columns(log_prob: NDArray[np.float32], classes: Sequence[str]) -> dict[str, Any]:
    """The columns predicted, and p(class) for every class. Shapes: log_prob [U, classes]"""
    probabilities = np.exp(log_prob).round(6)
    predicted = [classes[index] for index in log_prob.argmax(axis=1)]
    return {"predicted": predicted} | {f"p({name})": probabilities[:, i] for i, name in enumerate(classes)}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in UTF-8, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        with replacing(Path(path)) as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


def write_predictions(path: Path, corpus: Corpus, evaluation: Evaluation) -> None:
    """Write `predictions_table` as CSV, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    write_table(path, predictions_table(corpus, evaluation))
