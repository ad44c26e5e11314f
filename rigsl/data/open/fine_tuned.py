"""The fine-tuned encoders of a corpus: a file of adapters and classifiers in float16."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.folds import NO_FOLD
from rigsl.data.open.emotions import EMOTIONS, LABELS_SEEN
from rigsl.data.open.settings import FineTuning
from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.errors import UserError
from rigsl.files import sha256
from rigsl.wording import counted

#: Key of the folds of the training dialogues, cut by cut, in the provenance of the emotions.
FOLDS = "folds_of_train_dialogues"
#: Key of classes -> how many encoders learned from no utterance of them, in the same place.
UNLEARNED = "encoders_without_a_class"
#: How labels reach the columns of a split, in the provenance of a corpus.
OUT_OF_FOLD = "out of fold: the encoders learned from the other folds of train"
MEAN = "mean of all encoders: they learned from train"


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

    def check_classes(self, count: int, path: Path) -> None:
        """Check that each of these encoders, of the file `path`, tells `count` classes apart.

        Raises:
            UserError: one does not, or has no classifier.
        """
        for part in self.tensors:
            bias = part.get("classifier.bias", np.zeros(0))
            if bias.shape != (count,):
                raise UserError(
                    f"{path}: its encoders tell {counted(bias.size, 'class', 'classes')} apart, and the "
                    f"corpus has {count}; fine-tune new ones"
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
            raise UserError(f"{path}: does not hold fine-tuned encoders; build its corpus again") from None


def encoders_of(corpus: Corpus, path: Path) -> EmotionEncoders:
    """The fine-tuned encoders that made the emotions of `corpus`, from the file in `path`.

    Raises:
        UserError: the file is missing or damaged, or is that of another corpus.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: is not there, and features like those of corpus {corpus.name} need it: it holds the "
            "fine-tuned encoders, which were written beside the corpus; put it there"
        )
    encoders = EmotionEncoders.load(path)
    if sha256(path) != corpus.provenance[EMOTIONS].get("sha256"):
        raise UserError(f"{path}: its encoders are not those of corpus {corpus.name}; build both together")
    return encoders
