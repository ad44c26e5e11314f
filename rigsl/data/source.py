"""Which corpus a dataset's name stands for."""

from __future__ import annotations

from pathlib import Path

from rigsl.config import MODALITIES
from rigsl.data.corpus import Corpus
from rigsl.data.official.corpus import load_official
from rigsl.data.official.files import no_files, official_paths
from rigsl.errors import UserError

DATASETS = ("MELD", "IEMOCAP")
FEATURES = ("auto", "open", "official")
DATA_DIR = Path(__file__).resolve().parents[2] / "data"  #: of the repository
OPEN_FILES = {"MELD": "meld_open.safetensors"}


def load_corpus(dataset: str, features: str = "auto", data_dir: Path | None = None) -> Corpus:
    """The corpus of `dataset` (in any case); its `name` says which features it holds.

    Args:
        dataset: one of DATASETS.
        features: "open" (built from public transcripts), "official" (the RIGSL authors' files), or "auto",
            which takes the official files where they are and the open features elsewhere.
        data_dir: folder of the feature files; the repository's `data` by default. Official files may lie in
            its subfolder ``iemocap`` or ``meld``.

    Raises:
        UserError: an unknown name, features that cannot be had, or a missing or damaged file.
    """
    name = dataset.upper()
    if name not in DATASETS:
        raise UserError(f"'{dataset}' is not a dataset; the datasets are {', '.join(DATASETS)}")
    if features not in FEATURES:
        raise UserError(f"'{features}' are no features; choose one of {', '.join(FEATURES)}")
    folder = DATA_DIR if data_dir is None else Path(data_dir)
    if features == "official" or (features == "auto" and official_paths(name, folder) is not None):
        return load_official(name, folder)
    if name not in OPEN_FILES:
        raise UserError(f"there are no open features for {name}, and {no_files(name, folder)}")
    return _open_corpus(name, folder)


def _open_corpus(name: str, folder: Path) -> Corpus:
    path = folder / OPEN_FILES[name]
    if not path.is_file():
        raise UserError(
            f"{path}: is not there; make it by `python -m rigsl build-features --csv DIR --out {path}`"
        )
    return Corpus.load(path)


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
