"""A corpus of data frames and arrays, without a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigsl.data.corpus import Corpus
from rigsl.data.open.cross_fitted import remove_states
from rigsl.data.own.build import CorpusOptions, build
from rigsl.data.own.features.modalities import feature_rows
from rigsl.data.own.provenance import Origin
from rigsl.data.own.reading.tables import FRAME, table_of
from rigsl.data.own.splits import as_splits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def corpus_from_frame(
    frame: pd.DataFrame | Mapping[str, pd.DataFrame],
    features: Mapping[str, Path | str | np.ndarray | pd.DataFrame | Mapping[Any, Any]] | None = None,
    *,
    options: CorpusOptions,
    licence: str = "",
) -> Corpus:
    """See `Corpus.from_frame`."""
    text = options.columns.get("text")
    if isinstance(frame, Mapping):
        splits: Sequence[str] = as_splits(list(frame), "the data frames")
        tables = [table_of(part, f"{FRAME} {name!r}", text=text) for name, part in frame.items()]
    else:
        splits, tables = (), [table_of(frame, text=text)]
    given = {name: feature_rows(name, value) for name, value in (features or {}).items()}
    corpus = build(tables, given, options, Origin("Corpus.from_frame", licence=licence), splits)
    if options.encoders is not None:
        remove_states(options.encoders)
    return corpus
