"""Memory of the whole model: graph, encoder, CGS, IGR, fusion, classifier."""

from __future__ import annotations

from rigsl.memory.cgs import cgs_stages
from rigsl.memory.encoder import encoder_stages
from rigsl.memory.mmgcn import mmgcn_stages
from rigsl.memory.nodeformer import nodeformer_stages
from rigsl.memory.stage import Sizes, Stage, linear
from rigsl.model.backbones.mmgcn import MMGCN


def model_stages(s: Sizes) -> list[Stage]:
    """The stages in the order of the forward pass."""
    config = s.config
    stages = [_graph(s), *encoder_stages(s)]
    if config.use_cgs:
        stages += mmgcn_stages(s) if config.backbone == "MMGCN" else cgs_stages(s)
    if config.use_igr:
        stages += nodeformer_stages(s)
    if config.backbone == "MMGCN":
        own = MMGCN.width if config.use_cgs else 0
        width = (config.use_residue + config.use_igr) * s.d + own
        return [*stages, _concatenation(s, width), _classifier(s, width)]
    return [*stages, _gated_fusion(s), _classifier(s, s.d)]


def _graph(s: Sizes) -> Stage:
    """Masks of a byte a pair, counted in a copy of 64-bit integers."""
    pairs = s.pair / s.modalities
    return Stage(saved=pairs / 2, forward=3 * pairs, inference=3 * pairs, output=pairs / 2)


def _gated_fusion(s: Sizes) -> Stage:
    """A gate's sigmoid for each part; the gated parts once by themselves and once stacked."""
    config, node = s.config, s.node
    parts = config.use_residue + config.use_cgs + config.use_igr
    weights = parts * linear(s.d, s.d)
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
    """The parts side by side."""
    fused = s.node / s.d * width
    return Stage(forward=fused, inference=fused, output=fused)


def _classifier(s: Sizes, width: int) -> Stage:
    """Dropout and ReLU over the fused modalities, which are still there themselves; logits and losses."""
    config, classes = s.config, len(s.schema.classes)
    fused = s.node / s.d * width
    logits = 4 * s.load.utterances * classes
    saved = (1 + s.mask(config.dropout)) * s.half * fused + logits
    return Stage(
        saved=saved,
        forward=saved + 3 * fused,
        backward=saved + 2 * fused,
        inference=3 * fused + logits,
        weights=linear(s.modalities * width, classes),
    )
