"""MMGCN backbone: GCNII on a dense similarity graph (Hu et al., ACL 2021; GCNII: Chen et al., ICML 2020)."""

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
from rigsl.model.fusion import Concatenation
from rigsl.model.graph import DialogueGraph
from rigsl.model.linear import Linear
from rigsl.model.precision import full_precision
from rigsl.model.sparsify import EdgeValues, propagate

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

    def forward(self, h: Tensor, h0: Tensor, batch: Batch, adjacency: EdgeValues) -> Tensor:
        messages = batch.unpad(propagate(batch.pad(h, adjacency.intra.shape[1]), adjacency))
        mixed = (1 - ALPHA) * messages + ALPHA * h0
        return self.theta * (torch.cat([messages, h0], dim=1) @ self.weight) + (1 - self.theta) * mixed


def similarity_graph(x: Tensor, graph: DialogueGraph) -> EdgeValues:
    """D^-1/2 A D^-1/2 with A = 1 - arccos(0.99999 cos) / pi between all utterances of a modality
    (including each with itself) and between the modalities of an utterance.

    Shapes: x [B, M, T, 200] -> EdgeValues
    """
    unit = F.normalize(full_precision(x), dim=-1, eps=1e-12)
    real = graph.real[:, None, :, None] & graph.real[:, None, None, :]
    intra = _similarity(unit @ unit.transpose(-1, -2)) * real
    across = torch.einsum("bmtd,bntd->bmnt", unit, unit)
    cross = _similarity(across) * (graph.cross[:, :, None] & graph.real[:, None, None, :])
    degree = intra.sum(dim=3) + cross.sum(dim=2)  # [B, M, T]
    norm = torch.where(degree > 0, degree, 1.0).rsqrt()
    return EdgeValues(
        intra * norm[..., :, None] * norm[..., None, :], cross * norm[:, :, None] * norm[:, None, :]
    )


def _similarity(cosine: Tensor) -> Tensor:
    return 1 - torch.arccos(SHRINK * cosine.clamp(-1, 1)) / math.pi


class MMGCN(Backbone):
    """Nodes projected to 200 (+ speaker embedding on text), 64 GCNII layers of 100; result [200 ; 100].

    There are no edge gates: the penalty is the constant 1, all edges are kept, and the CGS hyperparameters
    have no effect. The official code has this backbone for IEMOCAP only.

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
        adjacency = similarity_graph(batch.pad(nodes, graph.modalities), graph)
        nodes = F.dropout(nodes, DROPOUT, self.training)
        h = h0 = F.relu(self.input(nodes))
        for layer in self.layers:
            h = F.relu(layer(F.dropout(h, DROPOUT, self.training), h0, batch, adjacency))
        features = torch.cat([nodes, F.dropout(h, DROPOUT, self.training)], dim=1)
        return BackboneOutput(features, x.new_ones(()), x.new_ones(3))
