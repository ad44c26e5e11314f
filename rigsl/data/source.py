"""Which corpus a dataset's name stands for."""

from __future__ import annotations

from pathlib import Path

from rigsl.data.corpus import Corpus
from rigsl.data.official import load_official
from rigsl.data.official_files import no_files, official_paths
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
