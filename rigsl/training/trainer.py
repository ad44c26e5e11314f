"""Training of one configuration, epoch by epoch."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rigsl.config import RIGSLConfig, from_mapping
from rigsl.data.batches import BatchSource, shuffled_batches
from rigsl.data.corpus import HIDDEN, Corpus
from rigsl.errors import UserError, first_line
from rigsl.files import write_tensors
from rigsl.model.rigsl import RIGSL
from rigsl.training.arithmetic import arithmetic, autocast
from rigsl.training.compact import compact
from rigsl.training.evaluation import Evaluation, evaluate_dialogues, evaluation_batch
from rigsl.training.losses import class_weights, link_factor, task_loss, taught_loss
from rigsl.training.optimiser import Adam
from rigsl.training.scores import Scores, scores
from rigsl.training.teacher import Teacher
from rigsl.training.weight_average import WeightAverage

#: The numbers that an epoch reports as means over its batches.
MEANS = (
    "train_loss", "task_loss", "penalty", "link_loss",
    "kept_other_speaker", "kept_same_speaker", "kept_cross_modal",
)  # fmt: skip

#: Hyperparameters that may change in the course of a training: they change neither the shapes of the weights,
#: nor their meaning, nor their inputs.
CONTINUABLE = frozenset({
    "dropout", "denoise_dropout", "nodeformer_dropout", "temperature", "anneal_to", "anneal_epoch", "tau",
    "use_gumbel", "gumbel_k", "class_weight", "focal_gamma", "penalty_weight_coff", "link_loss_coff",
    "link_loss_epoch", "lr", "l2", "batch_size", "epochs", "patience",
})  # fmt: skip


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class EpochReport:
    """The numbers of one epoch: losses are means over its batches, seconds its wall time with validation.

    train_loss: the total, with what a teacher adds; task_loss: that of the labels alone;
    improved: this epoch's validation weighted F1 is the best so far; kept_...: share of the predefined edges
    between different speakers, of the same speaker, and across modalities whose gate is not zero in training;
    done: no further epoch follows; split_weighted_f1: weighted F1 on the validation split alone, where
    held-out dialogues are validated on, too.
    """

    epoch: int
    train_loss: float
    task_loss: float
    penalty: float
    link_loss: float
    kept_other_speaker: float
    kept_same_speaker: float
    kept_cross_modal: float
    validation: Scores
    best_weighted_f1: float
    best_epoch: int
    improved: bool
    seconds: float
    done: bool
    split_weighted_f1: float | None = None

    def metrics(self) -> dict[str, float]:
        """The numbers of this epoch under flat names, for experiment tracking."""
        flat = {name: float(getattr(self, name)) for name in (*MEANS, "best_weighted_f1")}
        flat |= {f"val_{name}": value for name, value in dataclasses.asdict(self.validation).items()}
        if self.split_weighted_f1 is not None:
            flat["val_split_weighted_f1"] = self.split_weighted_f1
        return flat | {"best_epoch": float(self.best_epoch), "epoch_seconds": self.seconds}


class Training:
    """One training run, epoch by epoch.

    Every epoch draws its noise and its order from (seed, epoch) alone and restores the global random state: a
    run that is saved and loaded continues bit for bit, and runs in one process do not affect each other. (On
    the CPU, with the same number of threads; CUDA sums in no fixed order unless the configuration is
    `deterministic`.)

    Args:
        config: what is trained.
        corpus: with labels in the splits below.
        device: where.
        train, validation: the splits to train on and to choose the epoch on.
        held_out: dialogues, by their indices, of `train` that are not trained on, such as a fold.
        validate_held_out: whether they are validated on, together with `validation`.
        teacher: targets that are learned beside the labels. Only those of utterances to train on are read.

    Raises:
        UserError: the corpus lacks a modality or a split, or hides labels that training needs, or the teacher
            is that of another corpus or has no target for an utterance to train on.
    """

    def __init__(
        self,
        config: RIGSLConfig,
        corpus: Corpus,
        *,
        device: str = "cpu",
        train: Sequence[str] = ("train",),
        validation: str = "dev",
        held_out: NDArray[np.int64] | None = None,
        validate_held_out: bool = False,
        teacher: Teacher | None = None,
    ) -> None:
        self.config, self.corpus, self.device, self.teacher = config, corpus, device, teacher
        self.splits = (tuple(train), validation)
        self.held_out = np.zeros(0, dtype=np.int64) if held_out is None else held_out
        self._train = np.setdiff1d(
            np.concatenate([corpus.dialogues(split) for split in train]), self.held_out, assume_unique=True
        )
        self.validates_held_out = validate_held_out and len(self.held_out) > 0
        further = self.held_out if self.validates_held_out else self.held_out[:0]
        self._validation = np.concatenate([corpus.dialogues(validation), further])
        self._source = BatchSource(corpus, config.modals, device)
        labels = self._labels(self._train, "training")
        self._labels(self._validation, "validation")
        self._target: Tensor | None = None  # [all utterances of the corpus, classes]
        if teacher is not None:
            self._target = torch.from_numpy(teacher.targets(corpus, corpus.rows(self._train))).to(device)
        with _seeded(config.seed, 0, device):
            self.model = RIGSL(config, corpus.schema).to(device)
        self._weights = class_weights(labels, len(corpus.classes), config.class_weight).to(device)
        self._optimiser = Adam(self.model.parameters(), lr=config.lr, weight_decay=config.l2)
        self._average = WeightAverage(self.model, config.ema) if config.ema else None
        self.last_report: EpochReport | None = None
        self._best: dict[str, Tensor] = {}
        self._best_config = config  # of the best epoch

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.last_report.epoch if self.last_report else 0

    @property
    def done(self) -> bool:
        """Whether no further epoch follows."""
        return self.last_report is not None and self.last_report.done

    def step(self) -> EpochReport:
        """Train one epoch and validate.

        Raises:
            TrainingDiverged: the loss is NaN or infinite; the model stays as the last batch left it.
            torch.OutOfMemoryError: the memory of the device is full.
        """
        start = time.perf_counter()
        with _seeded(self.config.seed, self.epoch + 1, self.device):
            losses = self._train_epoch()
        evaluation = self.evaluate(self._validation)
        validation = evaluation.scores
        best = self.last_report.best_weighted_f1 if self.last_report else -math.inf
        improved = validation.weighted_f1 > best
        epoch = self.epoch + 1
        best_epoch = epoch if improved or self.last_report is None else self.last_report.best_epoch
        if improved:
            self._best = self._evaluated_weights()
            self._best_config = self.config
        self.last_report = EpochReport(
            epoch=epoch,
            **losses,
            validation=validation,
            best_weighted_f1=max(best, validation.weighted_f1),
            best_epoch=best_epoch,
            improved=improved,
            seconds=time.perf_counter() - start,
            done=self._is_last(epoch, best_epoch),
            split_weighted_f1=self._split_score(evaluation) if self.validates_held_out else None,
        )
        return self.last_report

    def evaluate(self, dialogues: NDArray[np.int64], model: RIGSL | None = None) -> Evaluation:
        """Predictions for some dialogues; their loss has the class weights of training.

        Args:
            dialogues: of the corpus, by their indices.
            model: such as `best_model`; None: as the last epoch left it, with averaged weights if it
                has them.
        """
        model = self._evaluated_model() if model is None else model
        size = evaluation_batch(self.config)
        return evaluate_dialogues(model, self._source, dialogues, self._weights, size)

    def best_model(self) -> RIGSL:
        """A model with the weights of the best epoch, in evaluation mode, on the training's device.

        Its configuration is that of the best epoch.
        """
        if self._best_config == self.config:
            model = compact(copy.deepcopy(self._evaluated_model()))
        else:
            with _seeded(self.config.seed, 0, self.device):
                model = RIGSL(self._best_config, self.corpus.schema).to(self.device)
        if self._best:
            model.load_state_dict(self._best)
        return model.eval()

    def best_weights(self) -> tuple[Mapping[str, Tensor], RIGSLConfig]:
        """The weights of the best epoch, which later epochs do not change, and the epoch's configuration."""
        if not self._best:
            return self._evaluated_weights(), self.config
        return self._best, self._best_config

    def with_config(self, config: RIGSLConfig) -> Training:
        """A training that continues this one, weights and optimiser included, with another configuration.

        Raises:
            UserError: the configurations differ in more than `CONTINUABLE`.
        """
        return self._from_state(self.snapshot(), self.corpus, self.device, config, self.teacher)

    def save(self, path: Path) -> None:
        """Write everything that is needed to continue, atomically."""
        write_state(self._state(), path)

    def snapshot(self) -> dict[str, Any]:
        """A copy in main memory of everything that is needed to continue, which `write_state` can write."""
        return {name: _cloned(part) for name, part in self._state().items()}

    @classmethod
    def load(
        cls,
        path: Path,
        corpus: Corpus,
        *,
        device: str = "cpu",
        config: RIGSLConfig | None = None,
        teacher: Teacher | None = None,
    ) -> Training:
        """A training that continues a saved one, with another configuration if `config` is given.

        Raises:
            UserError: the file is missing or damaged, or belongs to another corpus, model or teacher.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            return cls._from_state(state, corpus, device, config, teacher)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except Exception as error:
            raise UserError(f"{path}: the training state cannot be loaded ({first_line(error)})") from None

    def _state(self) -> dict[str, Any]:
        """Everything that is needed to continue, without copies: the next step changes the tensors."""
        return {
            "config": self.config.to_dict(),
            "splits": self.splits,
            "held_out": self.held_out.tolist(),
            "validates_held_out": self.validates_held_out,
            "teacher": None if self.teacher is None else self.teacher.digest,
            "model": self.model.state_dict(),
            "mean": {} if self._average is None else self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "best": self._best,
            "best_config": self._best_config.to_dict(),
            "report": None if self.last_report is None else dataclasses.asdict(self.last_report),
        }

    @classmethod
    def _from_state(
        cls,
        state: dict[str, Any],
        corpus: Corpus,
        device: str,
        config: RIGSLConfig | None,
        teacher: Teacher | None,
    ) -> Training:
        before = from_mapping(state["config"], "its configuration")
        config = before if config is None else config
        _check_continuable(before, config)
        _check_same_teacher(state.get("teacher"), teacher)  # states of version 0.1.0 say nothing of one
        train, validation = state["splits"]
        held_out = np.array(state.get("held_out", []), dtype=np.int64)  # earlier versions hold out nothing
        training = cls(
            config,
            corpus,
            device=device,
            train=train,
            validation=validation,
            held_out=held_out,
            validate_held_out=state.get("validates_held_out", False),
            teacher=teacher,
        )
        training.model.load_state_dict(state["model"])
        training._optimiser.load_state_dict(state["optimiser"])
        if training._average is not None:
            training._average.load_state_dict(state["mean"])
        training._best = {name: value.to(device) for name, value in state["best"].items()}
        training._best_config = from_mapping(state["best_config"], "its best configuration")
        if state["report"] is not None:
            report = state["report"] | {"validation": Scores(**state["report"]["validation"])}
            report["done"] = training._is_last(report["epoch"], report["best_epoch"])
            training.last_report = EpochReport(**report)
        return training

    def _is_last(self, epoch: int, best_epoch: int) -> bool:
        """Whether `epoch` is the last one: of the configuration, or by early stopping."""
        patience = self.config.patience
        return epoch >= self.config.epochs or (patience > 0 and epoch - best_epoch >= patience)

    def _split_score(self, evaluation: Evaluation) -> float:
        """Weighted F1 on the validation split, of an evaluation with held-out dialogues beside it."""
        of_split = np.isin(evaluation.rows, self.corpus.rows(self.corpus.dialogues(self.splits[1])))
        log_prob, labels = evaluation.log_prob[of_split], evaluation.labels[of_split]
        return scores(log_prob, labels, math.nan).weighted_f1

    def _evaluated_model(self) -> RIGSL:
        """The model that is validated and kept: the one of averaged weights if there is an average."""
        return self.model if self._average is None else self._average.evaluated()

    def _evaluated_weights(self) -> dict[str, Tensor]:
        """A copy of the weights of `_evaluated_model`."""
        return {name: value.detach().clone() for name, value in self._evaluated_model().state_dict().items()}

    def _labels(self, dialogues: NDArray[np.int64], role: str) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = self.corpus.labels[self.corpus.rows(dialogues)]
        if not len(labels) or (labels == HIDDEN).any():
            raise UserError(
                f"corpus {self.corpus.name}: the {role} split is empty or its labels are hidden; use a split "
                "with labels"
            )
        return labels

    def _train_epoch(self) -> dict[str, float]:
        """One pass over the training dialogues; means over the batches."""
        config = self.config
        self.model.train().start_epoch(self.epoch)
        order = torch.Generator().manual_seed(_seed(config.seed, self.epoch + 1))
        factor = link_factor(config, self.epoch)
        sums: Tensor | None = None
        batches = 0
        for dialogues in shuffled_batches(self.corpus.lengths, self._train, config.batch_size, order):
            parts = self.train_on(dialogues, factor)
            sums = parts if sums is None else sums + parts
            batches += 1
        assert sums is not None
        means = (sums / batches).tolist()
        if not all(map(math.isfinite, means)):
            raise TrainingDiverged(f"the loss is not finite in epoch {self.epoch + 1}")
        return dict(zip(MEANS, means, strict=True))

    def train_on(self, dialogues: NDArray[np.int64], factor: float) -> Tensor:
        """One step of the optimiser on a batch of dialogues.

        Args:
            factor: weight of the link loss.

        Returns:
            The numbers that MEANS names, on the device. [7]
        """
        config = self.config
        batch = self._source.batch(dialogues)
        with arithmetic(config, self.device, training=True):
            with autocast(config, self.device):
                out = self.model(batch)
            task = task_loss(out.log_prob, batch.label, self._weights, config.focal_gamma)
            loss = self._with_teacher(task, out.log_prob, batch.at) + config.penalty_weight_coff * out.penalty
            if factor:  # at 0 the link loss needs no backward pass
                loss = loss - factor * out.link_loss
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
        if self._average is not None:
            self._average.update()
        # They stay on the device: reading a number would wait for the device after every batch.
        return torch.stack([loss, task, out.penalty, out.link_loss, *out.kept]).detach()

    def _with_teacher(self, task: Tensor, log_prob: Tensor, rows: Tensor) -> Tensor:
        """The task loss of a batch, with what the teacher adds if there is one.

        Shapes: task scalar, log_prob [U, classes], rows [U] of the corpus, on the device -> scalar
        """
        if self.teacher is None or self._target is None:
            return task
        return taught_loss(task, log_prob, self._target[rows], self.teacher.weight, self.teacher.temperature)


def write_state(state: dict[str, Any], path: Path) -> None:
    """Write what `Training.snapshot` returned, for `Training.load`, atomically; its folder must be there."""
    write_tensors(Path(path), state, parents=False)


def _cloned(value: Any) -> Any:
    """Nested dicts and lists with copies of their tensors in main memory: a GPU need not keep them."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _cloned(item) for key, item in value.items()}
    return [_cloned(item) for item in value] if isinstance(value, list) else value


def _check_continuable(before: RIGSLConfig, after: RIGSLConfig) -> None:
    old, new = before.to_dict(), after.to_dict()
    for name in old:
        if old[name] != new[name] and name not in CONTINUABLE:
            raise UserError(
                f"{name} cannot change from {old[name]!r} to {new[name]!r} in the course of a training; "
                "start a new training with this configuration"
            )


def _check_same_teacher(digest: str | None, teacher: Teacher | None) -> None:
    """Check that a training goes on with the teacher of this digest, or without one as before."""
    given = None if teacher is None else teacher.digest
    if given != digest:
        before, now = (
            "no teacher" if name is None else f"the teacher with the digest {name[:12]}"
            for name in (digest, given)
        )
        raise UserError(
            f"the training has {before} and cannot go on with {now}; go on as it began, or start anew"
        )


def _seed(seed: int, epoch: int) -> int:
    """One 63-bit seed for (seed, epoch), without collisions between neighbouring seeds."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def _seeded(seed: int, epoch: int, device: str) -> Iterator[None]:
    """Set the global random state to that of (seed, epoch) inside the block, and restore it afterwards."""
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(_seed(seed, epoch))
        yield
