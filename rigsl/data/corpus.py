"""A corpus: features, labels and speakers of the utterances of dialogues, in three splits."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.errors import UserError
from rigsl.modalities import TEXT, modality_key, modality_name
from rigsl.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from rigsl.data.open.settings import FineTuning

SPLITS = ("train", "dev", "test")
HIDDEN = -1  #: the label of a test utterance whose label must not be seen

_ARRAYS = {  # field -> dtype
    "labels": np.int64,
    "speakers": np.int64,
    "offsets": np.int64,
    "splits": np.uint8,
    "text": np.uint8,
    "text_offsets": np.int64,
}
#: What would begin a line of its own in a page or a message, or is obeyed by a terminal; half a character.
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_META = ("name", "classes", "text_default", "dialogue_ids")
_KINDS = {
    "name": str, "classes": list, "text_default": str, "dialogue_ids": list, "provenance": dict,
    "content_hash": str, "n_speakers": int,
}  # fmt: skip
_TABLES = ("delivery", "emotions", "features", "files_sha256", "labels_seen", "splits", "versions")


@dataclass(frozen=True)
class Schema:
    """What a model must know about a corpus."""

    widths: dict[str, int]  #: key of a modality (see `rigsl.modalities`) -> feature width
    text_views: int  #: vectors per utterance of modality "l"
    text_default: str  #: how text vectors are mixed with norm = "None": "first" or "mean"
    n_speakers: int  #: maximum number of speakers in a dialogue
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Corpus:
    """U utterances in n dialogues; dialogue i is rows ``offsets[i]:offsets[i + 1]`` of every utterance array.

    All arrays are plain, read-only numpy arrays, so that many processes can share one copy. Modalities may be
    given by their names; `features` has their keys.

    Raises:
        UserError: the parts do not fit together; the sentence names the part.
    """

    name: str
    features: dict[str, np.ndarray]  #: modality -> [U, D], "l" (text): [U, views, D]; float16 or float32
    labels: np.ndarray  #: int64 [U], index into `classes`; -1 where hidden (test only)
    speakers: np.ndarray  #: int64 [U], by order of appearance in the dialogue
    offsets: np.ndarray  #: int64 [n + 1]
    splits: np.ndarray  #: uint8 [n], index into SPLITS
    dialogue_ids: tuple[str, ...]
    classes: tuple[str, ...]
    text_default: str
    text: np.ndarray  #: uint8, all utterances as UTF-8
    text_offsets: np.ndarray  #: int64 [U + 1], bytes
    provenance: dict[str, Any]  #: JSON-able: where the data comes from
    n_speakers: int = 0  #: maximum number of speakers in a dialogue; 0: as many as occur

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", _by_key(self.name, self.features))
        for name in _ARRAYS:
            object.__setattr__(self, name, _read_only(getattr(self, name)))
        if problem := _problem(self):
            raise UserError(f"corpus {self.name}: {problem}")

    @property
    def schema(self) -> Schema:
        """What a model must know about this corpus."""
        text = self.features.get(TEXT)
        return Schema(
            widths={key: int(array.shape[-1]) for key, array in self.features.items()},
            text_views=0 if text is None else int(text.shape[1]),
            text_default=self.text_default,
            n_speakers=self.n_speakers or int(self.speakers.max()) + 1,
            classes=self.classes,
        )

    @property
    def lengths(self) -> np.ndarray:
        """Number of utterances of every dialogue, int64 [n]."""
        return np.diff(self.offsets)

    def dialogues(self, split: str) -> np.ndarray:
        """Indices of the dialogues of `split`, int64, ascending.

        Raises:
            UserError: `split` is not one of SPLITS.
        """
        if split not in SPLITS:
            raise UserError(f"'{split}' is not a split; the splits are {', '.join(SPLITS)}")
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def rows(self, dialogues: np.ndarray) -> np.ndarray:
        """Rows of the utterances of these dialogues, int64, dialogue after dialogue."""
        ranges = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in dialogues]
        return np.concatenate([np.empty(0, dtype=np.int64), *ranges])

    def utterance(self, row: int) -> str:
        """The text of utterance `row`."""
        raw = self.text[self.text_offsets[row] : self.text_offsets[row + 1]].tobytes()
        return raw.decode(errors="replace")

    def without_test_labels(self) -> Corpus:
        """A copy with every test label -1, which is what a search and its workers may see."""
        is_test = np.repeat(self.splits == SPLITS.index("test"), self.lengths)
        return dataclasses.replace(self, labels=np.where(is_test, HIDDEN, self.labels))

    def content_hash(self) -> str:
        """SHA-256 over all arrays (name, dtype, shape, bytes) and the metadata except the provenance."""
        digest = hashlib.sha256(json.dumps(self._metadata(), sort_keys=True).encode())
        for name, array in sorted(self._arrays().items()):
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name} {array.dtype.name} {array.shape}".encode())
            digest.update(little.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def check(self) -> None:
        """Check every feature; too slow for each load, but right after a build or a download.

        Raises:
            UserError: a feature is NaN or infinite; the sentence names modality and utterance.
        """
        for key, array in self.features.items():
            bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
            if bad.any():
                raise UserError(
                    f"corpus {self.name}: the {modality_name(key)} features of utterance {bad.argmax()} "
                    "are NaN or infinite; build them again"
                )

    def save(self, path: Path) -> None:
        """Write one .safetensors file, atomically; equal corpora give equal bytes.

        Raises:
            UserError: the file cannot be written.
        """
        content = self._metadata() | {"provenance": self.provenance, "content_hash": self.content_hash()}
        write_arrays(Path(path), self._arrays(), content)

    @classmethod
    def load(cls, path: Path, *, verify: bool = True) -> Corpus:
        """Memory-map the file that `save` wrote; nothing is copied.

        `verify` reads all of it and checks its hash: 30 ms for the bundled features, half a second for the
        official ones.

        Raises:
            UserError: the file is missing, damaged, or its parts do not fit; the sentence names it.
        """
        path = Path(path)
        arrays, content = map_arrays(path)
        required = {*_ARRAYS, *_META, "provenance", "content_hash"}
        if missing := sorted(required - arrays.keys() - content.keys()):
            raise UserError(f"{path}: lacks {', '.join(missing)}; it is not a corpus file of this project")
        if odd := _of_another_kind(content):
            raise UserError(f"{path}: is damaged (its {odd} is of another kind); build or download it again")
        parts: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
        parts |= {name: content[name] for name in ("name", "text_default", "provenance")}
        lists = {name: content[name] for name in ("classes", "dialogue_ids")}
        parts |= {name: tuple(value) if isinstance(value, list) else value for name, value in lists.items()}
        parts["n_speakers"] = content.get("n_speakers", 0)
        prefix = "features."
        features = {name[len(prefix) :]: arrays[name] for name in sorted(arrays) if name.startswith(prefix)}
        try:
            corpus = cls(features=features, **parts)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if verify and corpus.content_hash() != content["content_hash"]:
            raise UserError(
                f"{path}: is damaged (its content does not match its hash); build or download it again"
            )
        return corpus

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame | Mapping[str, pd.DataFrame],
        features: Mapping[str, Path | str | np.ndarray | pd.DataFrame | Mapping[Any, Any]] | None = None,
        *,
        name: str = "own",
        columns: Mapping[str, str] | None = None,
        encoder: str | None = "all-MiniLM-L6-v2",
        device: str = "cpu",
        missing: str | None = None,
        seed: int = 0,
        licence: str = "",
        labels_seen: Sequence[str] = (),
        fine_tuning: FineTuning | None = None,
        encoders: Path | str | None = None,
        processes: int = 1,
    ) -> Corpus:
        """A corpus of a data frame with a row for each utterance; docs/own-corpus.md has an example.

        `python -m rigsl build-corpus` makes the same of files, with the same content hash.

        Args:
            frame: with the columns dialogue, text, speaker and label and, optionally, utterance, start, end
                and split; or split -> such a data frame.
            features: name of a modality -> an array with a row for each row of `frame`, a data frame with the
                columns dialogue and utterance, (dialogue, utterance) -> vector, or a file.
            name: of the corpus.
            columns: meaning of a column -> its name in `frame`, where it has none of the usual names.
            encoder: of the text vectors, a folder or a name on huggingface.co; None: `features` alone.
            device: of the encoder.
            missing: "mean": what an utterance lacks becomes the mean, with a column that marks it; None:
                refuse it.
            seed: of splits that are drawn.
            licence: text of the licence of the data.
            labels_seen: splits whose labels the features that are given have learned from.
            fine_tuning: settings (`rigsl.FineTuning`) by which the encoder is fine-tuned on train, for
                emotions as of `build-corpus --finetune`; None: it stays as it is.
            encoders: file to write with the fine-tuned encoders, which `predict --csv` finds as
                ``NAME_encoders.safetensors`` beside the corpus. An interrupted call with a file goes on.
            processes: encoders that are fine-tuned at the same time; it changes no number.

        Raises:
            UserError: a row, a feature or an argument is not valid; the sentence names it.
        """
        # By their names: these modules make corpora, and import this one. pandas is imported there, too.
        options = importlib.import_module("rigsl.data.own.build").CorpusOptions(
            *(name, columns or {}, encoder, device, missing, seed, labels_seen),
            *(fine_tuning, None if encoders is None else Path(encoders), processes),
        )
        make = importlib.import_module("rigsl.data.own.frame").corpus_from_frame
        corpus: Corpus = make(frame, features, options=options, licence=licence)
        return corpus

    def _arrays(self) -> dict[str, np.ndarray]:
        features = {f"features.{key}": array for key, array in self.features.items()}
        return features | {name: getattr(self, name) for name in _ARRAYS}

    def _metadata(self) -> dict[str, Any]:
        declared = {"n_speakers": self.n_speakers} if self.n_speakers else {}
        return {name: getattr(self, name) for name in _META} | declared


def _of_another_kind(content: Mapping[str, Any]) -> str | None:
    """The first entry beside the arrays whose JSON is of another kind than what is written; None: there is
    none. The content hash does not cover the provenance."""
    for name, kind in _KINDS.items():
        if name in content and type(content[name]) is not kind:
            return name
        if kind is list and not all(isinstance(item, str) for item in content[name]):
            return name
    provenance = content["provenance"]
    for name in _TABLES:
        if not isinstance(provenance.get(name, {}), dict):
            return f"provenance {name}"
    if not isinstance(provenance.get("emotions", {}).get("labels_seen", {}), dict):
        return "provenance labels_seen"
    if not all(
        isinstance(record, dict) and "indicator" in record and isinstance(record.get("files"), dict)
        for record in provenance.get("features", {}).values()
    ):
        return "provenance features"
    return None


def _read_only(array: np.ndarray) -> np.ndarray:
    """A read-only view as a plain ndarray: pickle would copy a subclass such as np.memmap every time."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _by_key(corpus: str, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Read-only features by the keys of their modalities; text that is given by its name is one vector.

    Raises:
        UserError: a modality cannot have its name, or is there under its letter, too.
    """
    by_key: dict[str, np.ndarray] = {}
    for name, array in features.items():
        try:
            key = modality_key(name)
        except UserError as error:
            raise UserError(f"corpus {corpus}: {error}") from None
        if key in by_key:
            raise UserError(f"corpus {corpus}: there are two features of {modality_name(key)}")
        one_vector = key == TEXT != name and array.ndim == 2
        by_key[key] = _read_only(array[:, None] if one_vector else array)
    return by_key


def _problem(corpus: Corpus) -> str | None:
    """The first part that does not fit, in words; None if all parts fit."""
    if problem := _bad_names(corpus):
        return problem
    for name, dtype in _ARRAYS.items():
        array = getattr(corpus, name)
        if array.ndim != 1 or array.dtype != dtype:
            return f"{name} is {array.dtype} {list(array.shape)}, not one-dimensional {np.dtype(dtype)}"
    n_rows, n_dialogues, n_bytes = corpus.labels.size, corpus.splits.size, corpus.text.size
    if not n_rows or corpus.speakers.size != n_rows:
        labels, speakers = counted(n_rows, "label"), counted(corpus.speakers.size, "speaker")
        return f"{labels} and {speakers} do not fit together"
    if len(corpus.dialogue_ids) != n_dialogues or len(set(corpus.dialogue_ids)) != n_dialogues:
        return f"dialogue_ids are not {counted(n_dialogues, 'different name')}"
    utterances = counted(n_rows, "utterance")
    if not _cuts(corpus.offsets, n_dialogues, n_rows, minimum=1):
        return f"offsets do not cut {utterances} into {counted(n_dialogues, 'dialogue')}"
    if not _cuts(corpus.text_offsets, n_rows, n_bytes, minimum=0):
        return f"text_offsets do not cut {counted(n_bytes, 'byte')} into {utterances}"
    return _bad_values(corpus) or _bad_features(corpus)


def _cuts(offsets: np.ndarray, parts: int, total: int, minimum: int) -> bool:
    """Whether `offsets` cut 0..total into `parts` pieces of at least `minimum` members each."""
    ends_meet = offsets.size == parts + 1 and offsets[0] == 0 and offsets[-1] == total
    return bool(ends_meet and (np.diff(offsets) >= minimum).all())


def _bad_names(corpus: Corpus) -> str | None:
    names = {"name": (corpus.name,), "classes": corpus.classes, "dialogue_ids": corpus.dialogue_ids}
    for what, texts in names.items():
        if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts):
            return f"{what} is no text" if what == "name" else f"{what} are not a list of texts"
        for text in texts:
            if not text.isprintable() and _NOT_IN_NAMES.search(text):
                return f"{what}: {text!r:.100} has a control character, or is no text; rename it"
    if len(set(corpus.classes)) != len(corpus.classes) or not corpus.classes:
        return f"classes are not {counted(len(corpus.classes), 'different name')}"
    provenance: object = corpus.provenance
    if not isinstance(provenance, dict):
        return "the provenance is no table"
    if type(corpus.n_speakers) is not int or corpus.n_speakers < 0:
        return f"n_speakers is {corpus.n_speakers!r}, not a number"
    return None


def _bad_values(corpus: Corpus) -> str | None:
    if corpus.splits.max() >= len(SPLITS):
        return f"split {corpus.splits.max()} of a dialogue is not 0 to {len(SPLITS) - 1}"
    if corpus.text_default not in ("first", "mean"):
        return f"text_default is {corpus.text_default!r}, not 'first' or 'mean'"
    lowest = np.where(np.repeat(corpus.splits == SPLITS.index("test"), corpus.lengths), HIDDEN, 0)
    bad = (corpus.labels < lowest) | (corpus.labels >= len(corpus.classes))
    if bad.any():
        row = int(bad.argmax())
        return f"label {corpus.labels[row]} of utterance {row} is not 0 to {len(corpus.classes) - 1}"
    if corpus.speakers.min() < 0:
        return "the number of a speaker is negative"
    if corpus.n_speakers and corpus.speakers.max() >= corpus.n_speakers:
        return f"speaker {corpus.speakers.max()} is not one of {corpus.n_speakers}, numbered from 0"
    return None


def _bad_features(corpus: Corpus) -> str | None:
    if not corpus.features:
        return "there are no features"
    for key, array in corpus.features.items():
        dimensions = 3 if key == TEXT else 2
        if array.ndim != dimensions or len(array) != corpus.labels.size or not array.size:
            expected = "[utterances, views, width]" if key == TEXT else "[utterances, width]"
            return f"features of '{key}' have the shape {list(array.shape)}, not {expected}"
        if array.dtype not in (np.float16, np.float32):
            return f"features of '{key}' are {array.dtype}, not float16 or float32"
    return None
