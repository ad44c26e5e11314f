"""Which corpus a search reads: the official features where they are, the bundled open ones elsewhere."""

from __future__ import annotations

from pathlib import Path

from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from search.runtime import ROOT

FEATURES = ("auto", "open", "official")


def find_corpus(dataset: str, features: str, folder: Path | None) -> tuple[Corpus, str, Path]:
    """The corpus, which features it has ("open" or "official"), and the folder it came from.

    Args:
        dataset: "MELD", in any case.
        features: one of FEATURES; "auto" prefers the official ones.
        folder: where corpora lie; None: ``data/`` of this project.

    Raises:
        UserError: there is no such corpus; the sentence says where it was looked for.
    """
    if features not in FEATURES:
        raise UserError(f"--features {features}: is not one of {', '.join(FEATURES)}")
    data = folder or ROOT / "data"
    if not data.is_dir():
        raise UserError(f"--data-dir {data}: is not a folder")
    wanted = ("official", "open") if features == "auto" else (features,)
    paths = {kind: data / f"{dataset.lower()}_{kind}.safetensors" for kind in wanted}
    for kind, path in paths.items():
        if path.is_file():
            return Corpus.load(path), kind, data
    looked = " or ".join(str(path) for path in paths.values())
    raise UserError(
        f"--dataset {dataset}: there is no {looked}; see data/README.md for where features come from"
    )
