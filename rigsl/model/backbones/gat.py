"""GAT backbone: gated edges with attention (RIGSL's form: normalised over a source's outgoing edges)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.model.backbones.layers import CGSLayer, CGSStack
from rigsl.model.graph import DialogueGraph
from rigsl.model.linear import Linear
from rigsl.model.sparsify import EdgeValues, SparseGraph, cross_mask


class GATLayer(CGSLayer):
    """Value of an edge: g_ji softmax(leaky_relu_0.2(att . [x'_i ; x'_j])), the softmax over all edges
    that leave j, whatever their gates."""

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__(config)
        self.pair = Linear(2 * config.hidden_dim, 1, bias=False)

    def values(self, sparse: SparseGraph, pair: EdgeValues, graph: DialogueGraph) -> EdgeValues:
        attention = softmax_over_targets(
            EdgeValues(F.leaky_relu(pair.intra, 0.2), F.leaky_relu(pair.cross, 0.2)), graph
        )
        return EdgeValues(sparse.gates.intra * attention.intra, sparse.gates.cross * attention.cross)


def softmax_over_targets(logits: EdgeValues, graph: DialogueGraph) -> EdgeValues:
    """Softmax over the edges that share a source, within and across modalities; zero for other pairs."""
    intra = logits.intra.masked_fill(~graph.intra[:, None], -torch.inf)
    cross = logits.cross.masked_fill(~cross_mask(graph), -torch.inf)
    largest = torch.maximum(intra.amax(dim=2), cross.amax(dim=1))  # [B, M, T], of each source
    largest = torch.where(largest.isfinite(), largest, 0.0).detach()
    intra = torch.exp(intra - largest[:, :, None])
    cross = torch.exp(cross - largest[:, None])
    total: Tensor = intra.sum(dim=2) + cross.sum(dim=1)
    total = torch.where(total > 0, total, 1.0)  # a node without edges
    return EdgeValues(intra / total[:, :, None], cross / total[:, None])


class GAT(CGSStack):
    """`num_L` layers of `GATLayer`. Shapes: [M * U, d] -> [M * U, d]"""

    layer = GATLayer
