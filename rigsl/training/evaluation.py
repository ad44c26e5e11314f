"""Predictions of a model on a corpus, and their scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.data.corpus import HIDDEN, Corpus
from rigsl.errors import UserError
from rigsl.model.rigsl import RIGSL
from rigsl.training.losses import task_loss
from rigsl.training.scores import Scores, scores

#: Dialogues per batch where no gradient is needed.
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """Predictions on a split. log_prob: [U, classes]; labels, rows: [U], rows of the corpus, ascending."""

    scores: Scores
    log_prob: NDArray[np.float32]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]


def evaluate(
    model: RIGSL, corpus: Corpus, split: str, *, batch_size: int | None = None, device: str = "cpu"
) -> Evaluation:
    """Predictions and scores on a split. The loss is the plain negative log-likelihood.

    Args:
        batch_size: dialogues in a batch; None: `evaluation_batch`.

    Raises:
        UserError: the model and the corpus do not fit together, the split is empty or its labels hidden.
    """
    check_schema(model, corpus)
    source = BatchSource(corpus, model.config.modals, device)
    weights = torch.ones(len(corpus.classes), device=device)
    size = evaluation_batch(model.config) if batch_size is None else batch_size
    found = evaluate_dialogues(model.to(device), source, corpus.dialogues(split), weights, size)
    if (found.labels == HIDDEN).any():
        raise UserError(f"corpus {corpus.name}: the labels of the {split} split are hidden")
    return found


def evaluation_batch(config: RIGSLConfig) -> int:
    """Dialogues per batch of an evaluation; predictions with quirks depend on it, so they keep theirs."""
    return config.batch_size if config.official_quirks else EVALUATION_BATCH


def check_schema(model: RIGSL, corpus: Corpus) -> None:
    """Check that a model can read a corpus.

    Raises:
        UserError: a modality is missing or has another width, or the classes differ.
    """
    ours, theirs = model.schema, corpus.schema
    for letter in model.config.modals:
        if ours.widths[letter] != theirs.widths.get(letter):
            raise UserError(
                f"the model reads modality '{letter}' of width {ours.widths[letter]}, but the corpus "
                f"{corpus.name} has {theirs.widths.get(letter, 'none')}; take the features it was trained on"
            )
    if ours.classes != theirs.classes:
        raise UserError(f"the model's classes are not those of the corpus {corpus.name}")
    if theirs.n_speakers > ours.n_speakers:
        raise UserError(
            f"the corpus {corpus.name} has dialogues of {theirs.n_speakers} speakers, the model knows "
            f"{ours.n_speakers}"
        )


def predict(model: RIGSL, corpus: Corpus, *, device: str = "cpu") -> NDArray[np.float32]:
    """Log-probabilities of every utterance of a corpus, in its order, [U, classes]; labels are not read.

    No dialogue's numbers depend on another one: with `official_quirks` every dialogue is a batch.

    Raises:
        UserError: the model and the corpus do not fit together.
    """
    check_schema(model, corpus)
    source = BatchSource(corpus, model.config.modals, device)
    dialogues = np.argsort(corpus.lengths, kind="stable")
    size = 1 if model.config.official_quirks else EVALUATION_BATCH
    log_prob, rows = _forward(model.to(device), source, dialogues, size)
    return np.asarray(log_prob.cpu().numpy()[np.argsort(rows)])


def evaluate_dialogues(
    model: RIGSL, source: BatchSource, dialogues: NDArray[np.int64], weights: Tensor, batch_size: int
) -> Evaluation:
    """Predictions on dialogues; the loss is weighted by class. Shapes: dialogues [n], weights [classes]"""
    corpus = source.corpus
    if not len(dialogues):
        raise UserError(f"corpus {corpus.name}: the split to evaluate is empty")
    if not model.config.official_quirks:  # where batches matter, the corpus's order is the official one
        dialogues = dialogues[np.argsort(corpus.lengths[dialogues], kind="stable")]
    log_prob, rows = _forward(model, source, dialogues, batch_size)
    labels = corpus.labels[rows]
    hidden = bool((labels == HIDDEN).any())
    truth = torch.from_numpy(labels).to(log_prob.device)
    loss = math.nan if hidden else float(task_loss(log_prob, truth, weights, 0.0))
    order = np.argsort(rows)
    predicted, labels = log_prob.cpu().numpy()[order], labels[order]
    return Evaluation(scores(predicted, labels, loss), predicted, labels, rows[order])


@torch.no_grad()
def _forward(
    model: RIGSL, source: BatchSource, dialogues: NDArray[np.int64], batch_size: int
) -> tuple[Tensor, NDArray[np.int64]]:
    """Log-probabilities [U, classes] and their rows of the corpus [U], batch after batch."""
    model.eval()
    parts, rows = [], []
    for start in range(0, len(dialogues), batch_size):
        batch = source.batch(dialogues[start : start + batch_size])
        parts.append(model(batch).log_prob)
        rows.append(batch.rows)
    return torch.cat(parts), np.concatenate(rows)
