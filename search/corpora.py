"""Which corpus a search reads, and which features it holds."""

from __future__ import annotations

from pathlib import Path

from rigsl.config import MODALITIES
from rigsl.data.corpus import Corpus
from rigsl.data.source import load_corpus


def find_corpus(dataset: str, features: str, folder: Path | None) -> tuple[Corpus, str]:
    """The corpus that `load_corpus` finds, and which features it has: "open" or "official".

    Raises:
        UserError: there is no such corpus.
    """
    corpus = load_corpus(dataset, features, folder)
    return corpus, "official" if corpus.name.lower().endswith("official") else "open"


def features_in_words(corpus: Corpus, features: str) -> str:
    """Where a corpus's features come from, for the plan and the report: one line."""
    names = ", ".join(name for letter, name in MODALITIES.items() if letter in corpus.features)
    if features == "official":
        return f"official: {names}, from the files of RIGSL's authors"
    return f"open: {names}, from the public transcripts; no official feature files were asked for or found"
