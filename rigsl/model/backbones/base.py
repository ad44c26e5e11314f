"""What every backbone is: node features in, node features and a sparsity penalty out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.model.graph import DialogueGraph


@dataclass(frozen=True)
class BackboneOutput:
    """features: [M * U, width], modality after modality; penalty: scalar;
    kept: share of predefined edges left between different speakers, of one speaker, across modalities [3]."""

    features: Tensor
    penalty: Tensor
    kept: Tensor


class Backbone(nn.Module, ABC):
    """A graph network over the nodes of a batch of dialogues.

    width: features per node that `forward` returns.
    """

    width: int

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> BackboneOutput:
        """x: [M * U, d], modality after modality."""
