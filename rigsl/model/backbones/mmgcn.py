"""MMGCN backbone: GCNII on a similarity graph (Hu et al., ACL 2021; GCNII: Chen et al., ICML 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.modalities import module_name
from rigsl.model.backbones.base import Backbone, BackboneOutput
from rigsl.model.backbones.speakers import TextSpeakers
from rigsl.model.dropout import dropout
from rigsl.model.edge_list import EdgeList
from rigsl.model.edges import DialogueGraph
from rigsl.model.fusion import Concatenation
from rigsl.model.linear import Linear
from rigsl.model.recomputed import recomputed

#: The official sizes; they are hyperparameters neither there nor here.
NODE_WIDTH, HIDDEN_WIDTH, LAYERS = 200, 100, 64
LAMBDA, ALPHA, DROPOUT = 0.5, 0.1, 0.4
#: Keeps arccos and its gradient finite for equal vectors.
SHRINK = 0.99999


class GCNIILayer(nn.Module):
    """r = (1 - alpha) A h + alpha h0; out = theta [A h ; h0] W + (1 - theta) r, theta = log(lambda / l + 1).

    Shapes: h, h0 [M * U, 100] -> [M * U, 100]
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.theta = math.log(LAMBDA / depth + 1)
        bound = HIDDEN_WIDTH**-0.5
        self.weight = nn.Parameter(torch.empty(2 * HIDDEN_WIDTH, HIDDEN_WIDTH).uniform_(-bound, bound))

    def forward(self, h: Tensor, h0: Tensor, graph: DialogueGraph, adjacency: Tensor) -> Tensor:
        messages = graph.propagate(h, adjacency)
        mixed = (1 - ALPHA) * messages + ALPHA * h0
        return self.theta * (torch.cat([messages, h0], dim=1) @ self.weight) + (1 - self.theta) * mixed


def similarity_graph(x: Tensor, graph: DialogueGraph) -> Tensor:
    """D^-1/2 A D^-1/2 with A = 1 - arccos(0.99999 cos) / pi between the utterances of a modality (including
    each with itself) and between the modalities of an utterance.

    Shapes: x [M * U, 200] -> [E]
    """
    return graph.similarities(x, _similarity)


def _similarity(cosine: Tensor) -> Tensor:
    return 1 - torch.arccos(SHRINK * cosine.clamp(-1, 1)) / math.pi


class MMGCN(Backbone):
    """Nodes projected to 200 (+ speaker embedding on text), 64 GCNII layers of 100; result [200 ; 100].

    There are no edge gates: the penalty is the constant 1, all edges are kept, and the hyperparameters of
    gates and layers have no effect. The official code has this backbone for IEMOCAP only.

    Shapes: [M * U, d] -> [M * U, 300]
    """

    fusion = Concatenation

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__(config, schema)
        self.project = nn.ModuleDict(
            {module_name(key): Linear(config.hidden_dim, NODE_WIDTH) for key in config.modalities}
        )
        self.speakers = TextSpeakers(config, schema, NODE_WIDTH)
        self.input = Linear(NODE_WIDTH, HIDDEN_WIDTH)
        self.layers = nn.ModuleList(GCNIILayer(depth + 1) for depth in range(LAYERS))

    @staticmethod
    def width(config: RIGSLConfig) -> int:
        return NODE_WIDTH + HIDDEN_WIDTH

    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> BackboneOutput:
        parts = x.chunk(len(self.project))
        nodes = torch.cat([layer(part) for layer, part in zip(self.project.values(), parts, strict=True)])
        nodes = self.speakers(nodes, batch)
        adjacency = similarity_graph(nodes, graph)
        nodes = dropout(nodes, DROPOUT, self.training)
        h = h0 = F.relu(self.input(nodes))
        for layer in self.layers:
            if isinstance(graph, EdgeList):  # at such lengths, what 64 layers keep would outweigh all else
                h = recomputed(self._step, layer, h, h0, graph, adjacency, random=True)
            else:
                h = self._step(layer, h, h0, graph, adjacency)
        features = torch.cat([nodes, dropout(h, DROPOUT, self.training)], dim=1)
        return BackboneOutput(features, x.new_ones(()), x.new_ones(3))

    def _step(
        self, layer: nn.Module, h: Tensor, h0: Tensor, graph: DialogueGraph, adjacency: Tensor
    ) -> Tensor:
        return F.relu(layer(dropout(h, DROPOUT, self.training), h0, graph, adjacency))
