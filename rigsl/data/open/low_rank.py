"""Low-rank adapters of linear layers (LoRA; Hu et al., ICLR 2022): y = W x + s B A x, with W as it was.

Only A [rank, in] and B [out, rank] are trained, so that a fine-tuned encoder is a few per cent of its base in
size. B starts at zero: before training, the outputs are those of the base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

SCALE = 2.0  #: s


class LowRankLinear(nn.Module):
    """A linear layer whose own weights stay, with an adapter of `rank`."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        weight = base.weight
        self.down = nn.Parameter(
            weight.new_empty(rank, base.in_features).normal_() / math.sqrt(base.in_features)
        )
        self.up = nn.Parameter(weight.new_zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        change = functional.linear(functional.linear(x, self.down), self.up)
        output: Tensor = self.base(x) + SCALE * change
        return output


def add_adapters(module: nn.Module, rank: int) -> None:
    """Freeze `module` and give an adapter to each of its linear layers, in place."""
    module.requires_grad_(False)
    linear = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    for name, layer in linear:
        module.set_submodule(name, LowRankLinear(layer, rank))


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Name -> the parameters that are trained, detached."""
    return {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}


def set_trained_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy `tensors` into the parameters of `trained_tensors`.

    Raises:
        KeyError: they are not the same names.
        RuntimeError: a shape differs.
    """
    own = trained_tensors(module)
    if own.keys() != tensors.keys():
        raise KeyError(", ".join(sorted(own.keys() ^ tensors.keys())))
    for name, value in own.items():
        value.copy_(tensors[name])
