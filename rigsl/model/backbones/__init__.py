"""Backbones of the sparsified graph: one file each, registered here by their official name."""

from __future__ import annotations

from rigsl.model.backbones.base import Backbone, BackboneOutput
from rigsl.model.backbones.m3net import M3Net

BACKBONES: dict[str, type[Backbone]] = {"M3Net": M3Net}

__all__ = ["BACKBONES", "Backbone", "BackboneOutput"]
