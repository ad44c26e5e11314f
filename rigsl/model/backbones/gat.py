"""GAT backbone: gated edges with attention (RIGSL's form: normalised over a source's outgoing edges)."""

from __future__ import annotations

from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.model.backbones.layers import CGSLayer, CGSStack
from rigsl.model.edges import DialogueGraph, EdgeValues
from rigsl.model.linear import Linear
from rigsl.model.sparsify import SparseGraph


class GATLayer(CGSLayer):
    """Value of an edge: g_ji softmax(leaky_relu_0.2(att . [x'_i ; x'_j])), the softmax over all edges
    that leave j, whatever their gates."""

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__(config)
        self.pair = Linear(2 * config.hidden_dim, 1, bias=False)

    def values(self, sparse: SparseGraph, pair: EdgeValues, graph: DialogueGraph) -> EdgeValues:
        return sparse.gates * graph.softmax_by_source(pair.map(lambda logit: F.leaky_relu(logit, 0.2)))


class GAT(CGSStack):
    """`num_L` layers of `GATLayer`. Shapes: [M * U, d] -> [M * U, d]"""

    layer = GATLayer
