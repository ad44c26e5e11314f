"""GAT backbone: gated edges with attention (RIGSL's form: normalised over a source's outgoing edges)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.model.backbones.layers import CGSLayer, CGSStack
from rigsl.model.edges import DialogueGraph
from rigsl.model.linear import Linear
from rigsl.model.sparsify import SparseGraph


class GATLayer(CGSLayer):
    """Value of an edge: g_ji softmax(leaky_relu_0.2(att . [x'_i ; x'_j])), the softmax over all edges
    that leave j, whatever their gates."""

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__(config)
        self.pair = Linear(2 * config.hidden_dim, 1, bias=False)

    def values(self, sparse: SparseGraph, pair: Sequence[Tensor], graph: DialogueGraph) -> Tensor:
        return sparse.gates * graph.softmax_by_source(F.leaky_relu(pair[0], 0.2))


class GAT(CGSStack):
    """`num_L` layers of `GATLayer`. Shapes: [M * U, d] -> [M * U, d]"""

    layer = GATLayer
