"""The exponential moving average of a model's weights (Polyak averaging)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from rigsl.model.rigsl import RIGSL
from rigsl.training.compact import compact


class WeightAverage:
    """The exponential moving average of the weights of `model`, and a model that has them.

    It starts as the weights after the first step: average = decay * average + (1 - decay) * weights. The
    numbers and the state are those of `torch.optim.swa_utils.AveragedModel`, which walks through the modules
    of both models after every step; here the lists of weights are made once.
    """

    def __init__(self, model: RIGSL, decay: float) -> None:
        self.model, self.decay = compact(copy.deepcopy(model)), decay
        self._steps = 0
        self._source = model
        self._weights: list[Tensor] = list(model.parameters())
        self._averages: list[Tensor] = list(self.model.parameters())

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of the model after a step of the optimiser."""
        if self._steps:
            torch._foreach_lerp_(self._averages, self._weights, 1 - self.decay)
        else:
            torch._foreach_copy_(self._averages, self._weights)
        self._steps += 1

    def evaluated(self) -> RIGSL:
        """The model with averaged weights; statistics of batch normalisation are averages already."""
        for target, buffer in zip(self.model.buffers(), self._source.buffers(), strict=True):
            target.copy_(buffer)
        return self.model

    def state_dict(self) -> dict[str, Tensor]:
        """What is needed to continue."""
        weights = {f"module.{name}": value for name, value in self.model.state_dict().items()}
        return {"n_averaged": torch.tensor(self._steps), **weights}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` returned."""
        weights = {
            name.removeprefix("module."): value for name, value in state.items() if name != "n_averaged"
        }
        self.model.load_state_dict(weights)
        self._steps = int(state["n_averaged"])
