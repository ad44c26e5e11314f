"""Adam, by PyTorch's fused kernel without the classes around it.

``torch.optim`` imports its compiler with the first optimiser (a second in every worker) and sorts the
parameters before every step (a millisecond, where a step of a small model takes twenty).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """Adam with weight decay added to the gradient (Kingma and Ba, ICLR 2015), as ``torch.optim.Adam``.

    A parameter without a gradient is left out of a step.
    """

    def __init__(self, parameters: Iterable[Tensor], *, lr: float, weight_decay: float) -> None:
        self.parameters, self.lr, self.weight_decay = list(parameters), lr, weight_decay
        #: Of each parameter, once it has had a gradient: number of steps, first and second moment.
        self._moments: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters by their gradients."""
        chosen = [index for index, one in enumerate(self.parameters) if one.grad is not None]
        if not chosen:
            return
        for index in chosen:
            if index not in self._moments:
                one = self.parameters[index]
                count = torch.zeros((), device=one.device)
                self._moments[index] = (count, torch.zeros_like(one), torch.zeros_like(one))
        counts, first, second = zip(*(self._moments[index] for index in chosen), strict=True)
        torch._foreach_add_(counts, 1)
        torch._fused_adam_(
            [self.parameters[index] for index in chosen],
            [grad for index in chosen if (grad := self.parameters[index].grad) is not None],
            list(first),
            list(second),
            [],
            list(counts),
            lr=self.lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """The moments; its tensors are the optimiser's own."""
        return {"moments": {index: list(tensors) for index, tensors in self._moments.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: it is of other parameters.
        """
        moments = {int(index): tuple(tensors) for index, tensors in state["moments"].items()}
        for index, (_, first, _) in moments.items():
            if index >= len(self.parameters) or first.shape != self.parameters[index].shape:
                raise ValueError("the optimiser's state belongs to other parameters")
        self._moments = moments
