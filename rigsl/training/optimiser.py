"""Adam with PyTorch's fused kernel, without the classes around it.

``torch.optim`` imports the compiler with the first optimiser (a second in every worker) and groups the
parameters before every step (one millisecond, where a step of a small model takes twenty).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """Adam with weight decay added to the gradient (Kingma and Ba, ICLR 2015), like ``torch.optim.Adam``.

    A step skips parameters without a gradient.
    """

    def __init__(self, parameters: Iterable[Tensor], *, lr: float, weight_decay: float) -> None:
        self.parameters, self.lr, self.weight_decay = list(parameters), lr, weight_decay
        #: Parameter -> number of steps, first and second moment, from its first gradient on.
        self._moments: dict[int, tuple[int, Tensor, Tensor]] = {}

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters with their gradients."""
        indices = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not indices:
            return
        for index in indices:
            if index not in self._moments:
                first, second = (torch.zeros_like(self.parameters[index]) for _ in range(2))
                self._moments[index] = 0, first, second
            count, first, second = self._moments[index]
            self._moments[index] = count + 1, first, second
        counts, firsts, seconds = zip(*(self._moments[index] for index in indices), strict=True)
        device = self.parameters[0].device
        # Most parameters have the same number of steps, and share its tensor.
        tensors = {count: torch.full((), float(count), device=device) for count in set(counts)}
        torch._fused_adam_(
            [self.parameters[index] for index in indices],
            [grad for index in indices if (grad := self.parameters[index].grad) is not None],
            list(firsts),
            list(seconds),
            [],
            [tensors[count] for count in counts],
            lr=self.lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """The moments; their tensors are not copied."""
        return {
            "moments": {
                index: [torch.full((), float(count), device=moments[0].device), *moments]
                for index, (count, *moments) in self._moments.items()
            }
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, on the device of the parameters.

        Raises:
            ValueError: the state belongs to other parameters.
        """
        moments = {int(index): tuple(tensors) for index, tensors in state["moments"].items()}
        for index, (_, first, _) in moments.items():
            if index >= len(self.parameters) or first.shape != self.parameters[index].shape:
                raise ValueError("the optimiser's state belongs to other parameters")
        self._moments = {
            index: (int(count), first.to(device), second.to(device))
            for index, (count, first, second) in moments.items()
            for device in [self.parameters[index].device]
        }
