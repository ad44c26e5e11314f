"""Memory of the whole model: graph, encoder, CGS, IGR, fusion, classifier."""

from __future__ import annotations

from collections.abc import Callable

from rigsl import config as configuration
from rigsl.memory.cgs import gat_stages, gcn_stages, m3net_stages
from rigsl.memory.encoder import encoder_stages
from rigsl.memory.mmgcn import mmgcn_stages
from rigsl.memory.nodeformer import nodeformer_stages
from rigsl.memory.stage import Sizes, Stage, linear
from rigsl.model.backbones import BACKBONES
from rigsl.model.fusion import Concatenation, Fusion, GatedFusion
from rigsl.registry import require_same_names

#: `backbone` -> its stages.
BACKBONE_STAGES: dict[str, Callable[[Sizes], list[Stage]]] = {
    "GCN": gcn_stages,
    "GAT": gat_stages,
    "M3Net": m3net_stages,
    "MMGCN": mmgcn_stages,
}
require_same_names(
    "backbone",
    {
        "rigsl.config.BACKBONES": configuration.BACKBONES,
        "rigsl.model.backbones.BACKBONES": BACKBONES,
        "rigsl.memory.model.BACKBONE_STAGES": BACKBONE_STAGES,
    },
)


def model_stages(s: Sizes) -> list[Stage]:
    """The stages in the order of the forward pass."""
    config = s.config
    backbone = BACKBONES[config.backbone]
    stages = [_graph(s), *encoder_stages(s)]
    if config.use_cgs:
        stages += BACKBONE_STAGES[config.backbone](s)
    if config.use_igr:
        stages += nodeformer_stages(s)
    width = backbone.fusion.width(config, backbone.width(config))
    return [*stages, FUSION_STAGE[backbone.fusion](s, width), _classifier(s, width)]


def _graph(s: Sizes) -> Stage:
    """Masks with one byte per pair, counted in a copy of 64-bit integers; or nine such integers per edge."""
    if s.sparse:
        indices = 18 * s.edge
        return Stage(saved=indices, forward=2 * indices, inference=2 * indices, output=indices)
    pairs = s.pair / s.modalities
    return Stage(saved=pairs / 2, forward=3 * pairs, inference=3 * pairs, output=pairs / 2)


def _gated_fusion(s: Sizes, width: int) -> Stage:
    """The sigmoid of each part's gate; the gated parts, each by itself and stacked."""
    config, node = s.config, s.node
    parts = config.use_residue + config.use_cgs + config.use_igr
    weights = parts * linear(width, width)
    saved = (parts + config.use_cgs) * node + s.cast(weights)
    merging = (2 * parts + 1) * node
    return Stage(
        saved=saved,
        forward=saved + merging,
        backward=saved + 3 * node,
        inference=merging,
        output=node,
        weights=weights,
    )


def _concatenation(s: Sizes, width: int) -> Stage:
    """The concatenated parts."""
    fused = s.node / s.d * width
    return Stage(forward=fused, inference=fused, output=fused)


#: How a backbone's features are fused -> the stage of it.
FUSION_STAGE: dict[type[Fusion], Callable[[Sizes, int], Stage]] = {
    GatedFusion: _gated_fusion,
    Concatenation: _concatenation,
}
require_same_names(
    "fusion",
    {
        "rigsl.model.backbones": {backbone.fusion.__name__ for backbone in BACKBONES.values()},
        "rigsl.memory.model.FUSION_STAGE": {fusion.__name__ for fusion in FUSION_STAGE},
    },
)


def _classifier(s: Sizes, width: int) -> Stage:
    """Dropout and ReLU of the fused modalities, which stay alive themselves; logits and losses."""
    config, classes = s.config, len(s.schema.classes)
    fused = s.node / s.d * width
    logits = 4 * s.batch.utterances * classes
    saved = (1 + s.mask(config.dropout)) * s.half * fused + logits
    return Stage(
        saved=saved,
        forward=saved + 3 * fused,
        backward=saved + 2 * fused,
        inference=3 * fused + logits,
        weights=linear(s.modalities * width, classes),
    )
