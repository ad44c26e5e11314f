"""Fusion of encoder, CGS and IGR features (design section 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rigsl.config import RIGSLConfig
from rigsl.model.linear import Linear


class GatedFusion(nn.Module):
    """f = [sigmoid(G0 x) x, only with use_residue] + sigmoid(G1 c) c + sigmoid(G2 n) n; a part that an
    ablation leaves out is None and has no gate.

    Shapes: x, c, n [nodes, d] -> [nodes, d]
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        d = config.hidden_dim
        self.gate_encoder = Linear(d, d) if config.use_residue else None
        self.gate_cgs = Linear(d, d) if config.use_cgs else None
        self.gate_igr = Linear(d, d) if config.use_igr else None

    def forward(self, x: Tensor, c: Tensor | None, n: Tensor | None) -> Tensor:
        pairs = ((self.gate_encoder, x), (self.gate_cgs, c), (self.gate_igr, n))
        parts = [
            torch.sigmoid(gate(part)) * part for gate, part in pairs if gate is not None and part is not None
        ]
        return torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]


class Concatenation(nn.Module):
    """f = [x, only with use_residue ; c ; n] (official for MMGCN), without the parts that are None.

    Shapes: x [nodes, d], c [nodes, width], n [nodes, d] -> [nodes, all]
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        self.residue = config.use_residue

    def forward(self, x: Tensor, c: Tensor | None, n: Tensor | None) -> Tensor:
        parts = [x if self.residue else None, c, n]
        return torch.cat([part for part in parts if part is not None], dim=-1)
