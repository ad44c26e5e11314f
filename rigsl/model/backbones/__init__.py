"""The backbones of CGS: graph networks on the sparsified graph, one file each.

base       `Backbone`: what a backbone declares and computes
gcn        gated edges with symmetric degree normalisation
gat        gated edges with attention
m3net      hypergraph branch and frequency branch
mmgcn      GCNII on a similarity graph, without gates
layers     message passing over gated edges, for GCN, GAT and M3Net
speakers   the speaker embedding of M3Net and MMGCN

A new backbone is a file here and one entry in each of four tables, which check at import that none is
missing: BACKBONES below, BACKBONES in `rigsl.config` (its name), BACKBONE_STAGES in `rigsl.memory.model` (its
memory) and OFFICIAL_BACKBONES in `rigsl.official.names` (None if the official code does not have it).
"""

from __future__ import annotations

from rigsl import config
from rigsl.model.backbones.base import Backbone, BackboneOutput
from rigsl.model.backbones.gat import GAT
from rigsl.model.backbones.gcn import GCN
from rigsl.model.backbones.m3net import M3Net
from rigsl.model.backbones.mmgcn import MMGCN
from rigsl.registry import RegistrationError, require_same_names

#: `backbone` -> its class.
BACKBONES: dict[str, type[Backbone]] = {"GCN": GCN, "GAT": GAT, "M3Net": M3Net, "MMGCN": MMGCN}


def check_backbones(backbones: dict[str, type[Backbone]]) -> None:
    """Check that these backbones are the choices of the configuration, and that each is complete.

    Raises:
        RegistrationError: a backbone is missing, or does not declare what `Backbone` asks for.
    """
    require_same_names(
        "backbone", {"rigsl.config.BACKBONES": config.BACKBONES, "rigsl.model.backbones.BACKBONES": backbones}
    )
    for name, backbone in backbones.items():
        missing = sorted(backbone.__abstractmethods__)
        if not hasattr(backbone, "fusion"):
            missing.append("fusion")
        if missing:
            raise RegistrationError(
                f"the backbone '{name}' does not define {', '.join(missing)}; see {Backbone.__module__}"
            )


check_backbones(BACKBONES)

__all__ = ["BACKBONES", "Backbone", "BackboneOutput"]
