"""Which corpus a search reads, and which features it holds."""

from __future__ import annotations

from pathlib import Path

from rigsl.data.corpus import Corpus
from rigsl.data.source import load_corpus


def find_corpus(dataset: str, features: str, folder: Path | None) -> tuple[Corpus, str]:
    """The corpus that `load_corpus` finds, and which features it has: "open" or "official".

    Raises:
        UserError: there is no such corpus.
    """
    corpus = load_corpus(dataset, features, folder)
    return corpus, "official" if corpus.name.lower().endswith("official") else "open"
