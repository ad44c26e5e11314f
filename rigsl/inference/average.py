"""The average of several trained models, as one thing that predicts and is stored in one folder.

Its probabilities are the uniform mean of those of its members (a deep ensemble; Lakshminarayanan et al.,
*Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles*, NeurIPS 2017). Functions here
take a single model as well, as the command line, MLflow and the search do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rigsl.data.corpus import Corpus, Schema
from rigsl.errors import UserError
from rigsl.files import read_json, replacing_folder, sha256
from rigsl.modalities import ordered
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import CONFIG, WEIGHTS, load_checkpoint, save_checkpoint
from rigsl.training.evaluation import Evaluation, evaluate, predict
from rigsl.training.losses import task_loss
from rigsl.training.scores import scores

#: Names the format and, for each member, the SHA-256 of its files.
MANIFEST = "average.json"
_FORMAT = 1
_FILES = (CONFIG, WEIGHTS)


@dataclass(frozen=True, eq=False)
class Average:
    """Models whose probabilities are averaged, each with the same weight.

    Their configurations may differ, backbone and modalities too; what they were trained on may not.

    Raises:
        UserError: there is no member, or one reads other features or classes than the first.
    """

    members: tuple[RIGSL, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise UserError("an average needs at least one model; name its members")
        for number, member in enumerate(self.members):
            if member.schema != self.schema:
                what = "classes" if member.schema.classes != self.schema.classes else "features"
                raise UserError(
                    f"member {number} of the average was trained on other {what} than member 0; average "
                    "models of one corpus"
                )

    @property
    def schema(self) -> Schema:
        """What the members know about their corpus."""
        return self.members[0].schema


def members_of(model: RIGSL | Average) -> tuple[RIGSL, ...]:
    """The members of an average; a model is its own only member."""
    return model.members if isinstance(model, Average) else (model,)


def modals_of(model: RIGSL | Average) -> tuple[str, ...]:
    """The keys of the modalities that a model, or any member of an average, reads, in their order."""
    return ordered({key for member in members_of(model) for key in member.config.modalities})


def mean_log_prob(log_probs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Log of the mean of probabilities, from their logs: float64 inside, and the same bits in any order.

    The mean of one array, or of equal ones, is that array. Shapes: n times [U, classes] -> [U, classes]
    """
    ascending = np.sort(np.stack(log_probs).astype(np.float64), axis=0)
    largest = np.maximum(ascending[-1], np.finfo(np.float64).min)  # finite, where all are -inf
    total = np.zeros_like(largest)
    for part in ascending:  # not `sum`, whose order of additions depends on the shape
        total += np.exp(part - largest)
    with np.errstate(divide="ignore"):
        return np.asarray(largest + np.log(total / len(log_probs)), dtype=np.float32)


def log_probabilities(
    model: RIGSL | Average, corpus: Corpus, device: str = "cpu", *, split: str | None = None
) -> NDArray[np.float32]:
    """Log of the (mean) probabilities of the classes for every utterance, in the order of the corpus.

    Labels are not read, and no dialogue affects the predictions of another one; see `predict`.

    Args:
        model: a model or an average of models.
        corpus: the dialogues.
        device: where the models compute.
        split: "train", "dev" or "test", for the utterances of these dialogues only; None: all.

    Shapes: -> [U, classes]

    Raises:
        UserError: a model and the corpus do not fit together, or there is no such split.
    """
    return mean_log_prob(
        [predict(member, corpus, split=split, device=device) for member in members_of(model)]
    )


def evaluate_model(model: RIGSL | Average, corpus: Corpus, split: str, *, device: str = "cpu") -> Evaluation:
    """Predictions of a model or an average on a split, and their scores.

    Those of an average are the mean of what `evaluate` gives for each member.

    Raises:
        UserError: a model and the corpus do not fit together, or the split is empty or its labels hidden.
    """
    parts = [evaluate(member, corpus, split, device=device) for member in members_of(model)]
    if len(parts) == 1:
        return parts[0]
    log_prob, labels = mean_log_prob([part.log_prob for part in parts]), parts[0].labels
    unweighted = torch.ones(len(corpus.classes))
    loss = task_loss(torch.from_numpy(log_prob), torch.from_numpy(labels), unweighted, 0.0)
    return Evaluation(scores(log_prob, labels, float(loss)), log_prob, labels, parts[0].rows)


def member_name(number: int) -> str:
    """The folder of a member, numbered from 0, in the folder of its average."""
    return f"member_{number:02d}"


def save_average(folder: str | Path, members: Sequence[RIGSL], *, parents: bool = True) -> None:
    """Write the members' checkpoints and ``average.json`` into a folder, which `load_model` reads.

    All of it is written beside the folder and takes the place of an older average as a whole; other files in
    `folder` are kept. With `parents`, the folders that it is in are made where they are missing.

    Raises:
        UserError: there is no member, or the members do not fit together.
    """
    average = Average(tuple(members))
    with replacing_folder(Path(folder), _is_ours, parents=parents) as fresh:
        for number, member in enumerate(average.members):
            save_checkpoint(fresh / member_name(number), member)
        digests = [_digests(fresh / member_name(number)) for number in range(len(average.members))]
        content = {"format": _FORMAT, "members": digests}
        (fresh / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_average(folder: str | Path, *, device: str = "cpu") -> Average:
    """The average in a folder, its members in evaluation mode.

    Raises:
        UserError: a file is missing, damaged, or another one than was written.
    """
    folder = Path(folder)
    recorded = _read_manifest(folder)
    for number, digests in enumerate(recorded):
        member = folder / member_name(number)
        for name, digest in digests.items():
            if not (member / name).is_file():
                raise UserError(f"{member / name}: is missing; restore {folder} from a copy")
            if sha256(member / name) != digest:
                raise UserError(
                    f"{member / name}: is not the file that {MANIFEST} names; restore {folder} from a copy"
                )
    names = map(member_name, range(len(recorded)))
    try:
        return Average(tuple(load_checkpoint(folder / name, device=device) for name in names))
    except UserError as error:
        raise UserError(str(error) if str(folder) in str(error) else f"{folder}: {error}") from None


def load_model(folder: str | Path, *, device: str = "cpu") -> RIGSL | Average:
    """The model or the average in a folder, in evaluation mode: what is in the folder decides.

    Raises:
        UserError: there is neither, there are both, or a file is damaged.
    """
    folder = Path(folder)
    if not is_average(folder):
        return load_checkpoint(folder, device=device)
    if (folder / CONFIG).is_file():
        raise UserError(
            f"{folder}: holds a checkpoint ({CONFIG}) and an average ({MANIFEST}); move one of them away"
        )
    return load_average(folder, device=device)


def member_weights(folder: str | Path) -> tuple[str, ...]:
    """SHA-256 of the weights of each member of the average in a folder; empty if there is no whole one."""
    folder = Path(folder)
    try:
        recorded = _read_manifest(folder)
    except UserError:
        return ()
    found = [folder / member_name(number) / WEIGHTS for number in range(len(recorded))]
    return tuple(digests[WEIGHTS] for digests in recorded) if all(path.is_file() for path in found) else ()


def is_average(folder: Path) -> bool:
    """Whether a folder holds an average, or what is left of one."""
    members_alone = (folder / member_name(0)).is_dir() and not (folder / CONFIG).exists()
    return (folder / MANIFEST).exists() or members_alone


def model_digest(folder: str | Path) -> str:
    """SHA-256, hexadecimal, that tells the weights in a folder of `load_model` from all others."""
    manifest = Path(folder) / MANIFEST
    return sha256(manifest if manifest.is_file() else Path(folder) / WEIGHTS)


def _is_ours(name: str) -> bool:
    return name == MANIFEST or re.fullmatch(r"member_\d{2,}", name) is not None


def _digests(member: Path) -> dict[str, str]:
    return {name: sha256(member / name) for name in _FILES}


def _read_manifest(folder: Path) -> list[dict[str, str]]:
    """The digests of every member's files.

    Raises:
        UserError: the file is missing, damaged, or of another format.
    """
    path = folder / MANIFEST
    content = read_json(path, dict)
    if content is None:
        raise UserError(f"{folder}: is not a whole average (it has no {MANIFEST}); copy or write it again")
    if (version := content.get("format")) != _FORMAT:
        raise UserError(
            f"{path}: has format {version!r}, but this version of the project reads {_FORMAT}; use the "
            "version that wrote it"
        )
    members = content.get("members")
    if not (isinstance(members, list) and members and all(map(_are_digests, members))):
        raise UserError(f"{path}: is damaged; restore {folder} from a copy")
    return members


def _are_digests(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == set(_FILES)
        and all(isinstance(digest, str) for digest in value.values())
    )
