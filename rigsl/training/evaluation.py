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
from rigsl.training.arithmetic import arithmetic
from rigsl.training.losses import task_loss
from rigsl.training.scores import Scores, scores
from rigsl.wording import counted

#: Dialogues per batch in evaluations.
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """Predictions on a split, and their scores.

    log_prob: [U, classes]; labels: [U]; rows: [U] the utterances' rows in the corpus, ascending.
    """

    scores: Scores
    log_prob: NDArray[np.float32]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]


def evaluate(
    model: RIGSL, corpus: Corpus, split: str, *, batch_size: int | None = None, device: str = "cpu"
) -> Evaluation:
    """Predictions of a model on a split of a corpus, and their scores.

    The loss is the negative log-likelihood without class weights.

    Args:
        split: "train", "dev" or "test".
        batch_size: dialogues in a batch; None: as many as `evaluation_batch` says.

    Raises:
        UserError: the model and the corpus do not fit together, or the split is empty or its labels hidden.
    """
    check_schema(model, corpus)
    source = BatchSource(corpus, model.config.modals, device)
    weights = torch.ones(len(corpus.classes), device=device)
    size = evaluation_batch(model.config) if batch_size is None else batch_size
    result = evaluate_dialogues(model.to(device), source, corpus.dialogues(split), weights, size)
    if (result.labels == HIDDEN).any():
        raise UserError(f"corpus {corpus.name}: the labels of the {split} split are hidden")
    return result


def evaluation_batch(config: RIGSLConfig) -> int:
    """Dialogues per batch of an evaluation; with quirks, predictions depend on it, and it is `batch_size`."""
    return config.batch_size if config.official_quirks else EVALUATION_BATCH


def check_schema(model: RIGSL, corpus: Corpus) -> None:
    """Check that a model can read a corpus.

    Raises:
        UserError: a modality is missing or has another width, or the classes differ.
    """
    ours, theirs = model.schema, corpus.schema
    for key in model.config.modalities:
        if ours.widths[key] != theirs.widths.get(key):
            raise UserError(
                f"the model reads modality '{key}' with width {ours.widths[key]}, but the corpus "
                f"{corpus.name} has {theirs.widths.get(key, 'none')}; use the features it was trained on"
            )
    if ours.classes != theirs.classes:
        raise UserError(
            f"the classes of the model are not those of the corpus {corpus.name}; use the corpus that it was "
            "trained on"
        )
    if theirs.n_speakers > ours.n_speakers:
        raise UserError(
            f"the corpus {corpus.name} has dialogues with {counted(theirs.n_speakers, 'speaker')}, but the "
            f"model knows only {ours.n_speakers}; train a model on this corpus"
        )


def predict(
    model: RIGSL, corpus: Corpus, *, split: str | None = None, device: str = "cpu"
) -> NDArray[np.float32]:
    """Log-probabilities of the classes for every utterance of a corpus, in its order. -> [U, classes]

    Labels are not read, so they may be hidden. The predictions of a dialogue never depend on other dialogues:
    with `official_quirks` every dialogue is a batch of its own. With `split`, "train", "dev" or "test", U are
    the utterances of these dialogues only.

    Raises:
        UserError: the model and the corpus do not fit together, or there is no such split, or nothing in it.
    """
    check_schema(model, corpus)
    source = BatchSource(corpus, model.config.modals, device)
    dialogues = np.arange(len(corpus.lengths)) if split is None else corpus.dialogues(split)
    if not len(dialogues):
        raise UserError(f"corpus {corpus.name}: the {split} split is empty; choose another one")
    dialogues = dialogues[np.argsort(corpus.lengths[dialogues], kind="stable")]
    size = 1 if model.config.official_quirks else EVALUATION_BATCH
    log_prob, rows = _forward(model.to(device), source, dialogues, size)
    return np.asarray(log_prob.cpu().numpy()[np.argsort(rows)])


def evaluate_dialogues(
    model: RIGSL, source: BatchSource, dialogues: NDArray[np.int64], weights: Tensor, batch_size: int
) -> Evaluation:
    """Predictions on these dialogues; `weights` are class weights of the loss.

    Shapes: dialogues [n], weights [classes]
    """
    corpus = source.corpus
    if not len(dialogues):
        raise UserError(f"corpus {corpus.name}: the split to evaluate is empty; choose another one")
    if not model.config.official_quirks:  # with quirks, keep the official order
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
    """Log-probabilities [U, classes] and their rows in the corpus [U], batch after batch."""
    model.eval()
    parts, rows = [], []
    with arithmetic(model.config, str(source.device), training=False):
        for start in range(0, len(dialogues), batch_size):
            batch = source.batch(dialogues[start : start + batch_size])
            parts.append(model(batch).log_prob)
            rows.append(batch.rows)
    return torch.cat(parts), np.concatenate(rows)
