"""Datasets: a name -> the corpus of its features, registered here or found as a file in the data folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rigsl.data.corpus import Corpus
from rigsl.data.official.corpus import load_official
from rigsl.data.official.files import LAYOUTS, missing_files, official_paths
from rigsl.data.open.emotions import has_emotions, without_emotions
from rigsl.data.tensor_file import map_arrays
from rigsl.errors import UserError
from rigsl.modalities import modality_names
from rigsl.registry import RegistrationError, require_same_names
from rigsl.shell import pasteable


@dataclass(frozen=True)
class Dataset:
    """Where a dataset's features come from: a corpus file, the official files, or both.

    open_file: name of a corpus file in the data folder (see `Corpus.save`), None if there is none;
    origin: where the features in it come from, in words; build: the command that makes it at {path}, where
    there is one; official: whether there are official files, whose layout is in `rigsl.data.official.files`.
    """

    open_file: str | None = None
    origin: str = "from a corpus file"
    build: str | None = None
    official: bool = False


#: Datasets with a line of their own; a corpus file ``NAME.safetensors`` in the data folder needs none.
DATASETS = {
    "MELD": Dataset(
        open_file="meld_open.safetensors",
        origin="from the public transcripts",
        build="python -m rigsl build-features --csv DIR --out {path}",
        official=True,
    ),
    "IEMOCAP": Dataset(official=True),
}
FEATURES = ("auto", "open", "official")
DATA_DIR = Path(__file__).resolve().parents[2] / "data"  #: of the repository
SUFFIX = ".safetensors"  #: of a corpus file
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_datasets(datasets: dict[str, Dataset], layouts: dict[str, object]) -> None:
    """Check that every dataset is completely registered.

    Raises:
        RegistrationError: a dataset has no features at all, official features without a layout, or a name
            that differs from another one by its case only.
    """
    official = [name for name, dataset in datasets.items() if dataset.official]
    require_same_names("official dataset", {"rigsl.data.source.DATASETS": official, _LAYOUTS: layouts})
    for name, dataset in datasets.items():
        if not (dataset.official or dataset.open_file):
            raise RegistrationError(f"the dataset '{name}' has neither an open file nor official files")
        if sum(name.lower() == other.lower() for other in datasets) > 1:
            raise RegistrationError(f"the dataset '{name}' is registered twice, in different case")


_LAYOUTS = "rigsl.data.official.files.LAYOUTS"
check_datasets(DATASETS, dict(LAYOUTS))


def spelled(text: str) -> str:
    """The name of a dataset: of a registered one from a text in any case (``meld`` -> ``MELD``).

    Raises:
        UserError: no dataset can have this name.
    """
    for name in DATASETS:
        if name.lower() == text.lower():
            return name
    if not _NAME.fullmatch(text):
        raise UserError(f"'{text}' is not a name of a dataset: at most 64 letters, digits, '.', '_' and '-'")
    return text


def dataset_name(text: str, data_dir: str | Path | None = None) -> str:
    """The name of a dataset that is registered, or whose corpus file is in the data folder.

    Args:
        text: the name in any case: ``meld`` -> ``MELD``.
        data_dir: the data folder; None: the repository's `data`.

    Raises:
        UserError: there is no such dataset; the sentence lists those that there are.
    """
    name = spelled(text)
    if name in DATASETS:
        return name
    files = _files(DATA_DIR if data_dir is None else Path(data_dir))
    if name in files:
        return name
    if found := [other for other in files if other.lower() == name.lower()]:
        return found[0]
    known = [*DATASETS, *(other for other, path in files.items() if is_corpus(path))]
    raise UserError(f"unknown dataset '{text}'; the datasets are {', '.join(known)}")


def _files(folder: Path) -> dict[str, Path]:
    """Name -> file of every dataset that is not registered and may have its corpus file in a folder."""
    registered = {dataset.open_file for dataset in DATASETS.values()}
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    return {path.stem: path for path in paths if path.name not in registered and _NAME.fullmatch(path.stem)}


def is_corpus(path: Path) -> bool:
    """Whether a file is there and a corpus, judged by its header: fine-tuned encoders lie beside theirs."""
    try:
        arrays, _ = map_arrays(path)
    except UserError:
        return False
    return "labels" in arrays


def has_official_features(name: str) -> bool:
    """Whether there are official files of a dataset."""
    return _dataset(name).official


def _dataset(name: str) -> Dataset:
    return DATASETS.get(name, Dataset(open_file=name + SUFFIX))


def load_corpus(dataset: str, features: str = "auto", data_dir: str | Path | None = None) -> Corpus:
    """The corpus of a dataset; its `name` says which features it holds.

    Args:
        dataset: one of DATASETS, or the name of a corpus file in the data folder, in any case.
        features: "open" (a corpus file, such as MELD's, made from public transcripts), "official" (the files
            of RIGSL's authors), or "auto": the official files if they are there, else the open features.
        data_dir: folder of the feature files; by default the repository's `data`. Official files may be in
            its subfolder of the dataset's name, such as ``iemocap`` or ``meld``.

    Raises:
        UserError: the name or the features are unknown, or a file is missing or damaged.
    """
    return _load(dataset, features, data_dir)[0]


def _load(dataset: str, features: str, data_dir: str | Path | None) -> tuple[Corpus, str]:
    """What `load_corpus` returns, and whether these are "open" or "official" features."""
    name = dataset_name(dataset, data_dir)
    if features not in FEATURES:
        raise UserError(f"unknown feature set '{features}'; choose one of {', '.join(FEATURES)}")
    folder = DATA_DIR if data_dir is None else Path(data_dir)
    source = _dataset(name)
    if features == "official" and not source.official:
        raise UserError(f"there are no official features of {name}; choose 'open' or 'auto'")
    requested = features == "official"
    if requested or (features == "auto" and source.official and official_paths(name, folder) is not None):
        return load_official(name, folder), "official"
    if source.open_file is None:
        raise UserError(f"there are no open features for {name}, and {missing_files(name, folder)}")
    path = folder / source.open_file
    if not path.is_file():
        advice = (
            f"build it with `{source.build}`".format(path=pasteable(path)) if source.build else "put it there"
        )
        raise UserError(f"{path}: is not there; {advice}, or name its folder with --data-dir")
    return Corpus.load(path), "open"


def open_path(dataset: str, data_dir: str | Path | None = None) -> Path:
    """The file of a dataset's open corpus, which may not be there.

    Raises:
        UserError: the name is unknown, or there is no such corpus.
    """
    name = dataset_name(dataset, data_dir)
    if (open_file := _dataset(name).open_file) is None:
        raise UserError(f"there are no open features for {name}")
    return (DATA_DIR if data_dir is None else Path(data_dir)) / open_file


def find_corpus(
    dataset: str, features: str, folder: Path | None, content: str | None = None
) -> tuple[Corpus, str]:
    """The corpus that `load_corpus` finds, and which features it has: "open" or "official".

    With the `content` hash of a corpus that a study was made on, it is that corpus if it can be made of the
    one that is there: MELD-open 1 is MELD-open 2 without its emotions.

    Raises:
        UserError: there is no such corpus.
    """
    corpus, kind = _load(dataset, features, folder)
    if content is not None and has_emotions(corpus):
        earlier = without_emotions(corpus)
        corpus = earlier if earlier.content_hash() == content else corpus
    return corpus, kind


def features_in_words(corpus: Corpus, features: str) -> str:
    """Where a corpus's features come from, in one line, for the plan and the report."""
    modalities = ", ".join(modality_names(corpus.features))
    if features == "official":
        return f"official: {modalities}, from the files of RIGSL's authors"
    dataset = DATASETS.get(corpus.name.split("-")[0], Dataset())  # "MELD-open"
    absent = "; no official feature files were requested or found" if dataset.official else ""
    return f"open: {modalities}, {dataset.origin}{absent}"
