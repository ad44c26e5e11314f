"""Fusion of encoder, CGS and IGR features (docs/model.md, section 5); a backbone declares which one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rigsl.config import RIGSLConfig
from rigsl.model.linear import Linear, gated


class Fusion(nn.Module, ABC):
    """One feature vector per node out of x (encoder), c (CGS) and n (IGR).

    A part that an ablation leaves out is None. Shapes: x, n [nodes, d], c [nodes, width] -> [nodes, width].
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()

    @staticmethod
    @abstractmethod
    def width(config: RIGSLConfig, backbone: int) -> int:
        """Width of the result, for a backbone whose features have the width `backbone`."""

    @abstractmethod
    def forward(self, x: Tensor, c: Tensor | None, n: Tensor | None) -> Tensor:
        """The fused features."""


class GatedFusion(Fusion):
    """f = [sigmoid(G0 x) x, only with use_residue] + sigmoid(G1 c) c + sigmoid(G2 n) n.

    A part that is None has no gate. Shapes: x, c, n [nodes, d] -> [nodes, d]
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__(config)
        d = config.hidden_dim
        self.gate_encoder = Linear(d, d) if config.use_residue else None
        self.gate_cgs = Linear(d, d) if config.use_cgs else None
        self.gate_igr = Linear(d, d) if config.use_igr else None

    @staticmethod
    def width(config: RIGSLConfig, backbone: int) -> int:
        return config.hidden_dim

    def forward(self, x: Tensor, c: Tensor | None, n: Tensor | None) -> Tensor:
        pairs = ((self.gate_encoder, x), (self.gate_cgs, c), (self.gate_igr, n))
        present = [(gate, part) for gate, part in pairs if gate is not None and part is not None]
        return gated(*zip(*present, strict=True)).sum(dim=0)


class Concatenation(Fusion):
    """f = [x, only with use_residue ; c ; n] without the parts that are None (official for MMGCN).

    Shapes: x [nodes, d], c [nodes, width], n [nodes, d] -> [nodes, sum of the widths]
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__(config)
        self.residue = config.use_residue
        # Gates are drawn and dropped: what is initialised after the fusion depends on how many random numbers
        # were drawn before, and a seed must keep its weights from one version to the next.
        GatedFusion(config)

    @staticmethod
    def width(config: RIGSLConfig, backbone: int) -> int:
        return config.hidden_dim * (config.use_residue + config.use_igr) + backbone * config.use_cgs

    def forward(self, x: Tensor, c: Tensor | None, n: Tensor | None) -> Tensor:
        parts = [x if self.residue else None, c, n]
        return torch.cat([part for part in parts if part is not None], dim=-1)
