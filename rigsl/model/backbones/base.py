"""The interface of a backbone: node features in, node features and a sparsity penalty out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.data.corpus import Schema
from rigsl.model.edges import DialogueGraph
from rigsl.model.fusion import Fusion


@dataclass(frozen=True)
class BackboneOutput:
    """features: [M * U, width], modality after modality; penalty: scalar; kept: [3] the share of predefined
    edges that are kept between different speakers, of the same speaker, and across modalities."""

    features: Tensor
    penalty: Tensor
    kept: Tensor


class Backbone(nn.Module, ABC):
    """A graph network over the nodes of a batch of dialogues.

    fusion: how its features are combined with those of the encoder and of IGR.
    """

    fusion: ClassVar[type[Fusion]]

    def __init__(self, config: RIGSLConfig, schema: Schema) -> None:
        super().__init__()

    @staticmethod
    @abstractmethod
    def width(config: RIGSLConfig) -> int:
        """Features per node that `forward` returns."""

    @abstractmethod
    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> BackboneOutput:
        """x: [M * U, d], modality after modality."""
