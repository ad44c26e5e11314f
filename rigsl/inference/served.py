"""A model or an average as a function: a DataFrame of utterances in, one of class probabilities out.

MLflow loads it with `_load_pyfunc` (its "loader module" convention); this module does not need MLflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from rigsl.data.corpus import Corpus
from rigsl.data.unlabelled import unlabelled
from rigsl.errors import UserError
from rigsl.inference.average import Average, load_model, log_probabilities, modals_of
from rigsl.modalities import TEXT, modality_name
from rigsl.model.rigsl import RIGSL
from rigsl.wording import counted


def feature_column(key: str) -> str:
    """The column with an utterance's vector of a modality; several text vectors are concatenated."""
    return f"{modality_name(key)}_features"


class ServedModel:
    """Class probabilities of utterances, on the CPU.

    Columns of the input: `dialogue`, a name; `utterance`, a whole number that orders the utterances of a
    dialogue; `speaker`, the speaker's number in the dialogue, as in the corpus (0 speaks first); and for each
    modality of the model, or of any member of an average, its `feature_column`, a list of numbers.
    """

    def __init__(self, model: RIGSL | Average) -> None:
        self.model = model
        self.modals = modals_of(model)

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """A row for every row of `table`, in its order; a dialogue does not affect the predictions of others.

        Raises:
            UserError: a column is missing or has invalid values.
        """
        schema = self.model.schema
        required = ["dialogue", "utterance", "speaker", *map(feature_column, self.modals)]
        if missing := [name for name in required if name not in table.columns]:
            raise UserError(f"the table lacks the column {', '.join(missing)}")
        if table.empty:
            return pd.DataFrame(columns=list(schema.classes), dtype=np.float32)
        order, offsets, names = _dialogues(table)
        ordered = table.iloc[order]
        corpus = unlabelled(
            "the table", schema, self._features(ordered), _whole(ordered, "speaker"), offsets, names
        )
        probabilities = np.empty((len(table), len(schema.classes)), dtype=np.float32)
        probabilities[order] = np.exp(log_probabilities(self.model, corpus))
        return pd.DataFrame(probabilities, columns=list(schema.classes), index=table.index)

    def _features(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        """Modality -> its vectors, float32; "l": [U, views, width], others: [U, width]."""
        schema, features = self.model.schema, {}
        for key in self.modals:
            column = feature_column(key)
            views = schema.text_views if key == TEXT else 1
            shape = (len(table), views, schema.widths[key])
            try:
                values = np.array(table[column].tolist(), dtype=np.float32).reshape(shape)
            except (TypeError, ValueError):
                numbers = counted(shape[1] * shape[2], "number")
                raise UserError(f"{column}: is not a list of {numbers} in every row") from None
            if not np.isfinite(values).all():
                raise UserError(f"{column}: holds numbers that are not finite")
            features[key] = values if key == TEXT else values[:, 0]
        return features


def _dialogues(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows ordered by dialogue and utterance [U], offsets of the dialogues [n + 1], their names [n]."""
    if table["dialogue"].isna().any():
        raise UserError("dialogue: is empty in a row; name the dialogue in every row")
    group, names = pd.factorize(table["dialogue"])
    position = _whole(table, "utterance")
    if pd.DataFrame({"group": group, "position": position}).duplicated().any():
        raise UserError("utterance: a number comes twice in a dialogue")
    counts = np.bincount(group)
    return np.lexsort((position, group)), np.append(0, np.cumsum(counts)), [str(name) for name in names]


def _whole(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column of whole numbers, int64 [U]."""
    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if not (np.isfinite(numbers) & (numbers == np.floor(numbers))).all():
        raise UserError(f"{column}: is not a whole number in every row")
    return numbers.astype(np.int64)


def table_of(corpus: Corpus, dialogues: np.ndarray, modals: Iterable[str]) -> pd.DataFrame:
    """The input of `ServedModel.predict` for dialogues of a corpus, in the order of the corpus.

    `modals`: the keys of the modalities that a model reads.
    """
    rows = corpus.rows(dialogues)
    lengths = corpus.lengths[dialogues]
    columns: dict[str, Any] = {
        "dialogue": np.repeat([corpus.dialogue_ids[index] for index in dialogues], lengths).tolist(),
        "utterance": rows - np.repeat(corpus.offsets[dialogues], lengths),
        "speaker": corpus.speakers[rows],
    }
    for key in modals:
        vectors = corpus.features[key][rows].reshape(len(rows), -1)
        columns[feature_column(key)] = vectors.astype(np.float64).tolist()
    return pd.DataFrame(columns)


def _load_pyfunc(path: str) -> ServedModel:
    """The loader that MLflow calls with the folder of a model or an average among its artifacts."""
    return ServedModel(load_model(path))
