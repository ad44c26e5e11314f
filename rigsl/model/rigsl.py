"""The whole RIGSL model (Xiong et al., ICME 2025; docs/model.md)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.model.backbones import BACKBONES
from rigsl.model.dropout import dropout
from rigsl.model.encoder import Encoder
from rigsl.model.graph import dialogue_graph
from rigsl.model.linear import Linear
from rigsl.model.nodeformer import NodeFormer
from rigsl.model.precision import full_precision
from rigsl.model.sparsify import HardConcreteGate


@dataclass(frozen=True)
class RIGSLOutput:
    """log_prob: [U, classes]; penalty, link_loss: scalars; kept: [3] the share of the predefined edges with a
    gate above zero, between different speakers, of the same speaker, and across modalities."""

    log_prob: Tensor
    penalty: Tensor
    link_loss: Tensor
    kept: Tensor


class RIGSL(nn.Module):
    """Encoder, context-aware graph sparsification (CGS), implicit relation mining (IGR), fusion, classifier.

    Without CGS (`use_cgs`) the penalty is 0 and all edges count as kept; without IGR (`use_igr`) the link
    loss is 0.
    """

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__()
        self.config, self.schema = config, schema
        self.encoder = Encoder(config, schema)
        backbone = BACKBONES[config.backbone]
        self.backbone = backbone(config, schema) if config.use_cgs else None
        self.nodeformer = NodeFormer(config) if config.use_igr else None
        self.fusion = backbone.fusion(config)
        width = backbone.fusion.width(config, backbone.width(config))
        self.classifier = Linear(len(config.modalities) * width, len(schema.classes))
        nn.init.xavier_uniform_(self.classifier.weight)

    def start_epoch(self, epoch: int) -> None:
        """Set what depends on the epoch (0-based): the temperature of the gates."""
        for module in self.modules():
            if isinstance(module, HardConcreteGate):
                module.anneal(epoch)

    def forward(self, batch: Batch) -> RIGSLOutput:
        graph = dialogue_graph(batch, self.config)
        x = self.encoder(batch)  # [M * U, d]
        sparse = None if self.backbone is None else self.backbone(x, batch, graph)
        implicit, link = None, x.new_zeros(())
        if self.nodeformer is not None:
            implicit, link = self.nodeformer(x, batch, graph)
        fused = self.fusion(x, None if sparse is None else sparse.features, implicit)
        nodes = torch.cat(fused.chunk(len(self.config.modalities)), dim=-1)  # [U, M * width]
        logits = self.classifier(F.relu(dropout(nodes, self.config.dropout, self.training)))
        log_prob = F.log_softmax(full_precision(logits), dim=-1)
        if sparse is None:
            return RIGSLOutput(log_prob, x.new_zeros(()), link, x.new_ones(3))
        return RIGSLOutput(log_prob, sparse.penalty, link, sparse.kept)
