"""The fine-tuned encoders of an open corpus: settings, and a file of adapters and classifiers in float16."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.folds import NO_FOLD
from rigsl.data.open.emotions import EMOTIONS, LABELS_SEEN
from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.errors import UserError
from rigsl.files import sha256

#: Key of the folds of the training dialogues, cut by cut, in the provenance of the emotions.
FOLDS = "folds_of_train_dialogues"
#: How labels reach the columns of a split, in the provenance of a corpus.
OUT_OF_FOLD = "out of fold: the encoders learned from the other folds of train"
MEAN = "mean of all encoders: they learned from train"


def _setting(default: float, help: str, low: float) -> Any:
    return field(default=default, metadata={"help": help, "low": low})


@dataclass(frozen=True)
class FineTuning:
    """The settings of a cross-fitted fine-tuning.

    Raises:
        UserError: a setting is too small.
    """

    folds: int = _setting(5, "folds of train: each encoder learns from all folds but one", 2)
    repeats: int = _setting(2, "how often train is cut into folds, each time in another way", 1)
    epochs: int = _setting(3, "epochs of each encoder", 1)
    rank: int = _setting(16, "rank of the adapters of an encoder's linear layers", 1)
    lr: float = _setting(1e-3, "learning rate of AdamW", 1e-9)
    batch_size: int = _setting(32, "utterances in a batch", 1)
    context: int = _setting(0, "preceding utterances in the same input", 0)
    balance: float = _setting(
        0.0, "exponent p of the class weights, frequency ** -p: 0 none, 0.5 square root, 1 inverse", 0.0
    )
    seed: int = _setting(0, "seed of folds and encoders", 0)

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, low = getattr(self, setting.name), setting.metadata["low"]
            if not value >= low:
                raise UserError(f"{setting.name} of the fine-tuning is {value}; its minimum is {low}")

    def key(self, **more: Any) -> str:
        """A digest of all settings and of `more`, a JSON-able dict: what a saved state belongs to."""
        text = json.dumps(asdict(self) | more, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def encoders_path(corpus: Path) -> Path:
    """The file of the fine-tuned encoders of a corpus file: ``meld_open.safetensors`` -> beside it,
    ``meld_open_encoders.safetensors``."""
    return Path(corpus).with_name(f"{Path(corpus).stem}_encoders.safetensors")


@dataclass(frozen=True, eq=False)
class EmotionEncoders:
    """R x K fine-tuned encoders, those of the first cut first."""

    settings: FineTuning
    tensors: tuple[dict[str, np.ndarray], ...]  #: adapters and classifier of each, float16
    base: dict[str, str]  #: file name -> SHA-256 of the weights that they adapt

    def save(self, path: Path) -> None:
        """Write one .safetensors file, atomically.

        Raises:
            UserError: the file cannot be written.
        """
        arrays = {
            f"{index}.{name}": value
            for index, part in enumerate(self.tensors)
            for name, value in part.items()
        }
        write_arrays(path, arrays, {"settings": asdict(self.settings), "base": self.base})

    def check_base(self, base: dict[str, str], encoder: str) -> None:
        """Check that these encoders adapt the one whose weights have these SHA-256.

        Raises:
            UserError: they adapt another one.
        """
        if self.base != base:
            raise UserError(
                f"encoder '{encoder}' is not the one that was fine-tuned; give that one with --encoder, or "
                "fine-tune this one"
            )

    def describe(self, fold_of_dialogue: np.ndarray) -> dict[str, Any]:
        """What a corpus says of its emotion columns: which labels made them, in which way.

        Args:
            fold_of_dialogue: see `cross_fitting.fold_of_dialogues`; [R, n].
        """
        return {
            "encoders": asdict(self.settings),
            LABELS_SEEN: {"train": OUT_OF_FOLD} | dict.fromkeys(SPLITS[1:], MEAN),
            FOLDS: [[int(fold) for fold in folds if fold != NO_FOLD] for folds in fold_of_dialogue],
        }

    @classmethod
    def load(cls, path: Path) -> EmotionEncoders:
        """Read the file that `save` wrote.

        Raises:
            UserError: the file is missing or damaged; the sentence names it.
        """
        arrays, content = map_arrays(path)
        try:
            settings = FineTuning(**content["settings"])
            tensors: list[dict[str, np.ndarray]] = [{} for _ in range(settings.repeats * settings.folds)]
            for key, value in arrays.items():
                index, _, name = key.partition(".")
                tensors[int(index)][name] = value
            return cls(settings, tuple(tensors), dict(content["base"]))
        except (IndexError, KeyError, TypeError, ValueError):
            raise UserError(f"{path}: does not hold the encoders of an open corpus; build it again") from None


def encoders_of(corpus: Corpus, path: Path) -> EmotionEncoders:
    """The fine-tuned encoders that made the emotions of `corpus`, from the file in `path`.

    Raises:
        UserError: the file is missing or damaged, or is that of another corpus.
    """
    encoders = EmotionEncoders.load(path)
    if sha256(path) != corpus.provenance[EMOTIONS].get("sha256"):
        raise UserError(f"{path}: its encoders are not those of corpus {corpus.name}; build both together")
    return encoders
