"""Fusion of encoder, CGS and IGR features (design section 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rigsl.config import RIGSLConfig


class GatedFusion(nn.Module):
    """f = [sigmoid(G0 x) x, only with use_residue] + sigmoid(G1 c) c + sigmoid(G2 n) n.

    Shapes: x, c, n [nodes, d] -> [nodes, d]
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        d = config.hidden_dim
        self.gate_encoder = nn.Linear(d, d) if config.use_residue else None
        self.gate_cgs = nn.Linear(d, d)
        self.gate_igr = nn.Linear(d, d)

    def forward(self, x: Tensor, c: Tensor, n: Tensor) -> Tensor:
        fused: Tensor = torch.sigmoid(self.gate_cgs(c)) * c + torch.sigmoid(self.gate_igr(n)) * n
        if self.gate_encoder is not None:
            fused = fused + torch.sigmoid(self.gate_encoder(x)) * x
        return fused


class Concatenation(nn.Module):
    """f = [x, only with use_residue ; c ; n] (official for MMGCN).

    Shapes: x [nodes, d], c [nodes, width], n [nodes, d] -> [nodes, all]
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        self.residue = config.use_residue

    def forward(self, x: Tensor, c: Tensor, n: Tensor) -> Tensor:
        return torch.cat([x, c, n] if self.residue else [c, n], dim=-1)
