"""Dialogues without labels, as a corpus that a model can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rigsl.data.corpus import HIDDEN, SPLITS, Corpus, Schema


def unlabelled(
    name: str,
    schema: Schema,
    features: Mapping[str, np.ndarray],
    speakers: np.ndarray,
    offsets: np.ndarray,
    dialogue_ids: Sequence[str],
) -> Corpus:
    """A corpus whose labels are hidden, all of it in the test split, for models of `schema`.

    It does not hold the utterances' text.

    Shapes: features "l" [U, views, D], others [U, D]; speakers [U]; offsets [n + 1] for n dialogues.

    Raises:
        UserError: the parts do not fit together, or a dialogue has more speakers than the model knows.
    """
    n_rows, n_dialogues = len(speakers), len(dialogue_ids)
    return Corpus(
        name=name,
        features=dict(features),
        labels=np.full(n_rows, HIDDEN, dtype=np.int64),
        speakers=speakers,
        offsets=offsets,
        splits=np.full(n_dialogues, SPLITS.index("test"), dtype=np.uint8),
        dialogue_ids=tuple(dialogue_ids),
        classes=schema.classes,
        text_default=schema.text_default,
        text=np.empty(0, dtype=np.uint8),
        text_offsets=np.zeros(n_rows + 1, dtype=np.int64),
        provenance={},
        n_speakers=schema.n_speakers,
    )
