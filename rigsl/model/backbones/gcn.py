"""GCN backbone: gated edges with symmetric degree normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rigsl.model.backbones.layers import CGSLayer, CGSStack
from rigsl.model.edges import DialogueGraph
from rigsl.model.sparsify import SparseGraph


class GCNLayer(CGSLayer):
    """Value of an edge: s_i s_j g_ji."""

    def values(self, sparse: SparseGraph, pair: Sequence[Tensor], graph: DialogueGraph) -> Tensor:
        return sparse.gates * graph.ends(sparse.norm)


class GCN(CGSStack):
    """`num_L` layers of `GCNLayer`. Shapes: [M * U, d] -> [M * U, d]"""

    layer = GCNLayer
