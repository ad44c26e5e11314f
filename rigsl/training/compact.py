"""Copies of models whose recurrent networks keep their weights in one piece."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Copy = TypeVar("Copy", bound=nn.Module)


def compact(model: Copy) -> Copy:
    """A copied model, with the weights of each recurrent network in one piece again: cuDNN would warn, and
    make one anew in every forward pass."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return model
