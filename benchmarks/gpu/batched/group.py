"""Trainings whose steps are taken together, each as if it were alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from benchmarks.gpu.batched.rules import Rates, Rules
from rigsl.model.nodeformer import NodeFormerLayer
from rigsl.model.sparsify import HardConcreteGate
from rigsl.training.arithmetic import arithmetic, autocast
from rigsl.training.losses import task_loss
from rigsl.training.trainer import Training, _seed

#: Hyperparameters in which the trainings of a group may differ: they change no shape and no branch.
MAY_DIFFER = frozenset({
    "lr", "l2", "dropout", "denoise_dropout", "nodeformer_dropout", "tau", "temperature", "anneal_to",
    "anneal_epoch", "penalty_weight_coff", "link_loss_coff", "link_loss_epoch", "class_weight", "focal_gamma",
    "ema", "epochs", "patience", "seed",
})  # fmt: skip
#: Of hyperparameters as tensors; without dimensions, they do not change the dtype of what they multiply.
WIDE = torch.float64


class Exponent:
    """The exponent of the focal loss of each training, none of which is 0."""

    def __init__(self, number: Tensor) -> None:
        self.number = number

    def __rpow__(self, base: Tensor) -> Tensor:
        return base**self.number


class Group:
    """The weights of the trainings are the parts of tensors with a leading dimension; their optimisers,
    averages and evaluation work as before.

    Raises:
        ValueError: they differ in more than `MAY_DIFFER`, or have something that the prototype lacks.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        _check(trainings)
        self.trainings, first = list(trainings), trainings[0]
        self._weights = _together([dict(training.model.named_parameters()) for training in trainings])
        self._buffers = _together([dict(training.model.named_buffers()) for training in trainings])
        for weight in self._weights.values():
            weight.requires_grad_()
        self._class_weights = torch.stack([training._weights for training in trainings])
        self._generators = [torch.Generator(first.device) for _ in trainings]
        self._rules = Rules(self._generators)
        self._model = copy.deepcopy(first.model).train()  # of which the weights are not used
        self._model.config = copy.copy(first.config)
        rates = Rates.of([training.config.dropout for training in trainings])
        object.__setattr__(self._model.config, "dropout", rates)  # the configuration is frozen
        for name, module in self._model.named_modules():
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = Rates.of([same.dropout for same in self._same(name)])

    def start_epoch(self, epoch: int) -> None:
        """Set what depends on the epoch (0-based): the random numbers, and the temperature of the gates."""
        for training, generator in zip(self.trainings, self._generators, strict=True):
            generator.manual_seed(_seed(training.config.seed, epoch + 1))
            training.model.train().start_epoch(epoch)

    def step(self, dialogues: NDArray[np.int64], factors: Sequence[float]) -> Tensor:
        """One step of every training on the same batch of dialogues.

        Args:
            factors: weight of the link loss of each training.

        Returns:
            The numbers that `rigsl.training.trainer.MEANS` names, of each training. [K, 7]
        """
        config, device = self.trainings[0].config, self.trainings[0].device
        batch = self.trainings[0]._source.batch(dialogues)

        def forward(weights: Any, buffers: Any, numbers: Any, classes: Tensor, focus: Tensor) -> Tensor:
            for weight in weights.values():
                weight._is_param = True  # `get_parameter` wants parameters
            for name, number in numbers.items():
                _set_number(self._model.get_submodule(name), number)
            with autocast(config, device):
                out = functional_call(self._model, (weights, buffers), (batch,))
            gamma: Any = Exponent(focus) if config.focal_gamma else 0.0
            task = task_loss(out.log_prob, batch.label, classes, gamma)
            return torch.stack([task, out.penalty, out.link_loss, *out.kept])

        with arithmetic(config, device, training=True):
            with self._rules.in_force():
                focus = torch.tensor([training.config.focal_gamma for training in self.trainings], dtype=WIDE)
                per_training = (self._weights, self._buffers, self._numbers(), self._class_weights, focus)
                parts = vmap(forward)(*per_training)
            penalty = parts.new_tensor([training.config.penalty_weight_coff for training in self.trainings])
            loss = parts[:, 0] + penalty * parts[:, 1]
            if any(factors):
                loss = loss - parts.new_tensor(factors) * parts[:, 2]
            for weight in self._weights.values():
                weight.grad = None
            loss.sum().backward()  # type: ignore[no-untyped-call]
            for index, training in enumerate(self.trainings):
                self._update(index, training)
        return torch.cat([loss[:, None], parts], dim=1).detach()

    def _update(self, index: int, training: Training) -> None:
        """A step of the training's own optimiser."""
        for name, parameter in training.model.named_parameters():
            gradient = self._weights[name].grad
            parameter.grad = None if gradient is None else gradient[index]
        training._optimiser.step()
        if training._average is not None:
            training._average.update()

    def _numbers(self) -> dict[str, Tensor]:
        """Module -> its `_number` in each training. [K]"""
        return {
            name: torch.tensor([_number(same) for same in self._same(name)], dtype=WIDE)
            for name, module in self._model.named_modules()
            if _number(module) is not None
        }

    def _same(self, name: str) -> list[Any]:
        """This module of each training's model."""
        return [training.model.get_submodule(name) for training in self.trainings]


def _number(module: nn.Module) -> Any:
    """The temperature of a gate, or of a layer of NodeFormer."""
    if isinstance(module, HardConcreteGate):
        return module.shape["temperature"]
    return module.tau if isinstance(module, NodeFormerLayer) else None


def _set_number(module: nn.Module, number: Any) -> None:
    if isinstance(module, HardConcreteGate):
        module.shape["temperature"] = number
    elif isinstance(module, NodeFormerLayer):
        module.tau = number


def _together(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of equal names in one with a leading dimension, of which the given ones become the parts."""
    stacked = {name: torch.stack([each[name].detach() for each in parts]) for name in parts[0]}
    for name, tensor in stacked.items():
        for each, part in zip(parts, tensor.unbind(), strict=True):
            each[name].data = part
    return stacked


def _check(trainings: Sequence[Training]) -> None:
    first = trainings[0]
    mine = first.config.to_dict()
    for training in trainings:
        theirs = training.config.to_dict()
        wrong = sorted(name for name in mine if mine[name] != theirs[name] and name not in MAY_DIFFER)
        if wrong:
            raise ValueError(f"the trainings of a group cannot differ in {', '.join(wrong)}")
        if (theirs["focal_gamma"] == 0) != (mine["focal_gamma"] == 0):
            raise ValueError("focal_gamma is 0, which is another loss, for some trainings of a group only")
        if training.corpus is not first.corpus or training.splits != first.splits:
            raise ValueError("the trainings of a group need the same dialogues")
        if training.teacher is not None or first.config.official_quirks:
            raise ValueError("trainings with a teacher or with official_quirks cannot be in a group")
