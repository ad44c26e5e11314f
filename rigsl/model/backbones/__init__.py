"""Backbones of the sparsified graph: one file each, registered here by their official name."""

from __future__ import annotations

from rigsl.model.backbones.base import Backbone, BackboneOutput
from rigsl.model.backbones.gat import GAT
from rigsl.model.backbones.gcn import GCN
from rigsl.model.backbones.m3net import M3Net
from rigsl.model.backbones.mmgcn import MMGCN

BACKBONES: dict[str, type[Backbone]] = {"GCN": GCN, "GAT": GAT, "M3Net": M3Net, "MMGCN": MMGCN}

__all__ = ["BACKBONES", "Backbone", "BackboneOutput"]
