"""The whole RIGSL model (Xiong et al., ICME 2025)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.model.backbones import BACKBONES
from rigsl.model.encoder import Encoder
from rigsl.model.fusion import Concatenation, GatedFusion
from rigsl.model.graph import dialogue_graph
from rigsl.model.nodeformer import NodeFormer


@dataclass(frozen=True)
class RIGSLOutput:
    """log_prob: [U, classes]; penalty, link_loss: scalars; kept: share of predefined edges left."""

    log_prob: Tensor
    penalty: Tensor
    link_loss: Tensor
    kept: Tensor


class RIGSL(nn.Module):
    """Encoder, context-aware graph sparsification, implicit relations, gated fusion, classifier.

    Raises:
        UserError: the corpus lacks a modality of the configuration.
    """

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__()
        self.config, self.schema = config, schema
        self.encoder = Encoder(config, schema)
        self.backbone = BACKBONES[config.backbone](config, schema)
        self.nodeformer = NodeFormer(config)
        width = config.hidden_dim
        self.fusion: nn.Module = GatedFusion(config)
        if config.backbone == "MMGCN":
            self.fusion = Concatenation(config)
            width = width * (1 + config.use_residue) + self.backbone.width
        self.classifier = nn.Linear(len(config.modals) * width, len(schema.classes))
        nn.init.xavier_uniform_(self.classifier.weight)

    def forward(self, batch: Batch) -> RIGSLOutput:
        graph = dialogue_graph(batch, self.config)
        x = self.encoder(batch)  # [M * U, d]
        sparse = self.backbone(x, batch, graph)
        implicit, link = self.nodeformer(x, batch, graph)
        fused = self.fusion(x, sparse.features, implicit)
        nodes = torch.cat(fused.chunk(len(self.config.modals)), dim=-1)  # [U, M * d]
        logits = self.classifier(F.relu(F.dropout(nodes, self.config.dropout, self.training)))
        return RIGSLOutput(F.log_softmax(logits.float(), dim=-1), sparse.penalty, link, sparse.kept)
