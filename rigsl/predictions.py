"""Predictions as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rigsl.data.corpus import Corpus
from rigsl.evaluation import Evaluation
from rigsl.files import replacing


def predictions_table(corpus: Corpus, found: Evaluation) -> pd.DataFrame:
    """One row an utterance: dialogue, utterance, speaker, text, emotion, predicted, p(class) of each."""
    dialogue = np.searchsorted(corpus.offsets, found.rows, side="right") - 1
    table = pd.DataFrame(
        {
            "dialogue": [corpus.dialogue_ids[index] for index in dialogue],
            "utterance": found.rows - corpus.offsets[dialogue],
            "speaker": corpus.speakers[found.rows],
            "text": [corpus.utterance(int(row)) for row in found.rows],
            "emotion": [corpus.classes[label] for label in found.labels],
            "predicted": [corpus.classes[index] for index in found.log_prob.argmax(axis=1)],
        }
    )
    probabilities = np.exp(found.log_prob)
    for index, name in enumerate(corpus.classes):
        table[f"p({name})"] = probabilities[:, index].round(6)
    return table


def write_predictions(path: Path, corpus: Corpus, found: Evaluation) -> None:
    """Write `predictions_table` as CSV, atomically."""
    with replacing(Path(path)) as temporary:
        predictions_table(corpus, found).to_csv(temporary, index=False)
