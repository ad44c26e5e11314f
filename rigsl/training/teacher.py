"""A teacher: probabilities of the classes that a model learns beside the labels of its training utterances.

Knowledge distillation (Hinton, Vinyals and Dean, 2015, arXiv:1503.02531). The teacher may be of the
student's own size (born-again networks: Furlanello et al., ICML 2018). Its predictions must be held out: a
model that has learned an utterance's label repeats the label, and teaches nothing.
`rigsl.training.losses.taught_loss` is what a model learns from them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rigsl.config import as_float
from rigsl.data.corpus import Corpus
from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.errors import UserError
from rigsl.wording import counted, listed

#: How far the probabilities of a row may be from a sum of 1: more than the rounding of float16 makes.
TOLERANCE = 0.01
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 100.0

_HOW = "make one of held-out predictions with rigsl.Teacher.out_of_fold"


@dataclass(frozen=True)
class TeacherRecord:
    """What a checkpoint says of the teacher that its model had; see `Teacher`."""

    digest: str
    weight: float
    temperature: float
    origin: str


@dataclass(frozen=True, eq=False)
class Teacher:
    """Target log-probabilities of the utterances of one corpus.

    Raises:
        UserError: a part is not what it says below.
    """

    log_prob: NDArray[np.float32]  #: [U, classes], the rows of the corpus; NaN in rows without a target
    corpus_hash: str  #: what `hash_for_teachers` says of the corpus
    weight: float = 0.6  #: of the teaching in the loss, above 0 and at most 1
    temperature: float = 1.0  #: of both sides of the teaching, from 0.01 to 100
    origin: str = ""  #: where it comes from, in words

    def __post_init__(self) -> None:
        log_prob = np.asarray(self.log_prob)
        if log_prob.ndim != 2 or not np.issubdtype(log_prob.dtype, np.floating):
            raise UserError(
                f"{self}: log_prob is {log_prob.dtype} {list(log_prob.shape)}, not floating-point "
                f"[utterances, classes]; {_HOW}"
            )
        if not isinstance(self.corpus_hash, str) or not isinstance(self.origin, str):
            raise UserError(f"{self}: corpus_hash or origin is not a text; {_HOW}")
        log_prob = log_prob.astype(np.float32)  # a copy, which nobody else changes
        log_prob.flags.writeable = False
        object.__setattr__(self, "log_prob", log_prob)
        if not _number(self.weight) or not 0 < self.weight <= 1:
            raise UserError(f"{self}: weight is {self.weight!r}; choose one above 0 and at most 1")
        low, high = LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE
        if not _number(self.temperature) or not low <= self.temperature <= high:
            raise UserError(
                f"{self}: temperature is {self.temperature!r}; choose one from {low:g} to {high:g}"
            )
        if (bad := _not_normalised(log_prob) & ~np.isnan(log_prob).all(axis=1)).any():
            raise UserError(
                f"{self}: row {bad.argmax()} of log_prob is neither log-probabilities of sum 1 nor all NaN; "
                f"{_HOW}"
            )

    def __str__(self) -> str:
        return f"teacher '{self.origin}'" if self.origin else "teacher"

    @property
    def digest(self) -> str:
        """SHA-256 over targets, corpus, weight and temperature: of all that a training reads."""
        numbers = [float(self.weight), float(self.temperature), list(self.log_prob.shape)]
        digest = hashlib.sha256(json.dumps([self.corpus_hash, *numbers]).encode())
        one_nan = np.where(np.isnan(self.log_prob), np.float32(np.nan), self.log_prob)
        digest.update(np.ascontiguousarray(one_nan, dtype="<f4").tobytes())
        return digest.hexdigest()

    @property
    def record(self) -> TeacherRecord:
        """What the checkpoint of a taught model says of this teacher."""
        return TeacherRecord(self.digest, float(self.weight), float(self.temperature), self.origin)

    def check(self, corpus: Corpus, rows: NDArray[np.int64] | None = None) -> None:
        """Check that this is a teacher of a corpus; its test labels may be hidden, or not.

        Args:
            rows: that a training learns from, [n]; None: those of the training split.

        Raises:
            UserError: it was made for another corpus, or none of these rows has a target.
        """
        expected = (len(corpus.labels), len(corpus.classes))
        if self.log_prob.shape != expected:
            size, classes = self.log_prob.shape
            raise UserError(
                f"{self}: has {counted(size, 'utterance')} and {counted(classes, 'class', 'classes')}, but "
                f"the corpus {corpus.name} has {expected[0]} and {expected[1]}; {_HOW}"
            )
        if self.corpus_hash != hash_for_teachers(corpus):
            raise UserError(
                f"{self}: was made for another corpus than {corpus.name}, or for other splits of it; {_HOW}"
            )
        if not len(self.taught_rows(corpus, rows)):
            raise UserError(f"{self}: has no target for an utterance to train on; {_HOW}")

    def taught_rows(self, corpus: Corpus, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Those of `rows`, or of the rows of the training split, that have a target."""
        rows = _train_rows(corpus) if rows is None else rows
        taught: NDArray[np.int64] = rows[~np.isnan(self.log_prob[rows, 0])]
        return taught

    def targets(self, corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """`log_prob` for a training on these rows: NaN in all others. [U, classes]

        Raises:
            UserError: see `check`.
        """
        self.check(corpus, rows)
        targets = np.full_like(self.log_prob, np.nan)
        targets[rows] = self.log_prob[rows]
        return targets

    def save(self, path: str | Path) -> None:
        """Write one .safetensors file, atomically; equal teachers give equal bytes.

        Raises:
            UserError: the file cannot be written.
        """
        record = self.record
        content = {
            "corpus_hash": self.corpus_hash,
            "weight": record.weight,
            "temperature": record.temperature,
        }
        content |= {"origin": self.origin, "digest": record.digest}
        write_arrays(Path(path), {"log_prob": self.log_prob}, content)

    @classmethod
    def load(cls, path: str | Path) -> Teacher:
        """Read the file that `save` wrote.

        Raises:
            UserError: the file is missing or damaged; the sentence names it.
        """
        path = Path(path)
        arrays, content = map_arrays(path, kind="teacher", again="make it again")
        names = ("corpus_hash", "weight", "temperature", "origin", "digest")
        if missing := [name for name in ("log_prob", *names) if name not in arrays | content]:
            raise UserError(f"{path}: lacks {listed(missing)}; it is not a teacher; {_HOW}")
        *values, digest = (content[name] for name in names)
        try:
            teacher = cls(arrays["log_prob"], *values)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if teacher.digest != digest:
            raise UserError(f"{path}: is damaged (its content does not match its digest); make it again")
        return teacher

    @classmethod
    def out_of_fold(
        cls,
        parts: Sequence[tuple[NDArray[np.int64], NDArray[np.floating[Any]]]],
        corpus: Corpus,
        *,
        weight: float = 0.6,
        temperature: float = 1.0,
        origin: str = "",
    ) -> Teacher:
        """The mean of held-out predictions. No label of the corpus is read.

        A row's target is the mean of the probabilities of all parts that have the row, NaN if none has.

        Args:
            parts: for each training, (rows, log_prob): rows of the corpus in its training split that this
                training did NOT learn from, [n], and what it predicts for them, [n, classes].

        Raises:
            UserError: a part has rows outside the training split, a row twice, or no log-probabilities.
        """
        trained = np.zeros(len(corpus.labels), dtype=bool)
        trained[_train_rows(corpus)] = True
        total = np.zeros((len(corpus.labels), len(corpus.classes)))
        count = np.zeros(len(corpus.labels), dtype=np.int64)
        for number, (rows, log_prob) in enumerate(parts):
            rows, log_prob = np.asarray(rows), np.asarray(log_prob)
            if problem := _problem(rows, log_prob, trained, total.shape[1]):
                raise UserError(f"part {number} of a teacher for {corpus.name}: {problem}")
            probability = np.exp(log_prob.astype(np.float64))
            total[rows] += probability / probability.sum(axis=1, keepdims=True)
            count[rows] += 1
        if not count.any():
            raise UserError(
                f"a teacher for {corpus.name} has no part with a row; give held-out predictions of train"
            )
        with np.errstate(divide="ignore", invalid="ignore"):  # log 0, and 0 / 0 where there is no target
            mean = np.log(total / count[:, None])
        return cls(mean.astype(np.float32), hash_for_teachers(corpus), weight, temperature, origin)


def hash_for_teachers(corpus: Corpus) -> str:
    """Content hash of a corpus whose test labels are hidden: the same, whether they are or not."""
    return corpus.without_test_labels().content_hash()


def _train_rows(corpus: Corpus) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = corpus.rows(corpus.dialogues("train"))
    return rows


def _number(value: Any) -> bool:
    """Whether `value` is a finite number; a file may hold anything."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(as_float(value))


def _not_normalised(log_prob: NDArray[Any]) -> NDArray[np.bool_]:
    """The rows whose probabilities do not sum to 1. [n, classes] -> [n]"""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.exp(log_prob.astype(np.float64)).sum(axis=1)
    normalised: NDArray[np.bool_] = np.abs(total - 1) <= TOLERANCE  # not where it is NaN
    return ~normalised


def _problem(
    rows: NDArray[Any], log_prob: NDArray[Any], trained: NDArray[np.bool_], classes: int
) -> str | None:
    """What is wrong with a part of `Teacher.out_of_fold`, in words; None if nothing is."""
    fits = rows.ndim == 1 and np.issubdtype(rows.dtype, np.integer) and log_prob.shape == (len(rows), classes)
    if not fits or not np.issubdtype(log_prob.dtype, np.floating):
        return (
            f"rows are {rows.dtype} {list(rows.shape)} and log_prob {log_prob.dtype} {list(log_prob.shape)}, "
            f"not integers [n] and floating-point [n, {classes}]"
        )
    inside = (rows >= 0) & (rows < len(trained))
    outside = rows[~inside | ~trained[np.where(inside, rows, 0)]]
    if len(outside):
        return f"row {outside[0]} is not in the training split; give held-out predictions of train only"
    if len(np.unique(rows)) < len(rows):
        return "it has a row twice; give the predictions of each training as a part of their own"
    if (bad := _not_normalised(log_prob)).any():
        return f"what it predicts for row {rows[bad.argmax()]} is not log-probabilities of sum 1"
    return None
